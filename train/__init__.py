"""Photos to a trained run directory: `python train/run.py`, installed as `smartbin-train`."""
