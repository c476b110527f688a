"""Training in the cloud: what can be run and checked without an account."""
