"""Where named data sets lie: `data fetch` writes into this folder, and training and `data list` look in it."""

from __future__ import annotations

import os
from pathlib import Path

DATA_VARIABLE = "SMARTBIN_DATA"
FETCHED = ("garbage", "recycle")
"""The data sets that lie below the data root in a folder of their name."""
OLD_GARBAGE = "trashnet"
"""Another name for the folder of the garbage data set."""
_REPOSITORY = Path(__file__).resolve().parents[2]


def default_data_root() -> Path:
    """`SMARTBIN_DATA`; else `data` beside the repository, or in the working directory when smartbin is installed.

    Beside the repository `shared/data` is taken instead if it holds `trashnet`, while `data` holds no data set.
    """
    if named := os.environ.get(DATA_VARIABLE):
        return Path(named)
    if not (_REPOSITORY / "pyproject.toml").is_file():
        return Path("data")
    usual, shared = _REPOSITORY.parent / "data", _REPOSITORY.parent / "shared" / "data"
    fetched = any((usual / name).is_dir() for name in FETCHED)
    return shared if not fetched and (shared / OLD_GARBAGE).is_dir() else usual
