"""The audit of a data set: what is in it, what is wrong with it, and what a network could cheat by."""
