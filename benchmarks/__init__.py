"""How fast and how faithful: scenarios that compare candidates side by side in one run."""
