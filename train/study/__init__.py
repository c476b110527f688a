"""Several runs that belong together: studies, k-fold."""
