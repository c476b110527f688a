"""Networks: how they are built, their starting weights, what of them is trained, and what is kept of the start."""
