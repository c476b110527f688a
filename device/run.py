"""`python device/run.py …` is `smartbin run …`, from a plain checkout as well as from an install."""

import sys
from pathlib import Path

if not __package__:  # started as a file: let `import device` and `import smartbin` find the checkout
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from device.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))
