"""What happens to training photos, on the CPU one by one or on the device in batches."""
