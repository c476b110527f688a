"""Where named data sets lie: the folder that `data fetch` writes into and that `--data garbage` looks in."""

from __future__ import annotations

import os
from pathlib import Path

DATA_VARIABLE = "SMARTBIN_DATA"
FETCHED = ("garbage", "recycle")
"""The data sets that lie below the data root in a folder of their name."""
_REPOSITORY = Path(__file__).resolve().parents[2]
_OF_OLD = _REPOSITORY.parent / "shared" / "data" / "trashnet"


def fetch_root() -> Path:
    """`SMARTBIN_DATA`; else `data` beside the repository, or in the working directory when smartbin is installed."""
    if named := os.environ.get(DATA_VARIABLE):
        return Path(named)
    in_checkout = (_REPOSITORY / "pyproject.toml").is_file()
    return _REPOSITORY.parent / "data" if in_checkout else Path("data")


def default_data_root() -> Path:
    """Where training looks: `fetch_root`, unless nothing was fetched there and `shared/data/trashnet` is at hand."""
    root = fetch_root()
    if os.environ.get(DATA_VARIABLE) or any((root / name).is_dir() for name in FETCHED):
        return root
    return _OF_OLD if _OF_OLD.is_dir() else root
