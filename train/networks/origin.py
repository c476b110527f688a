"""What the weights in a file descend from, which decides under which licence they may be passed on.

A run writes it into its `model.safetensors` (`train/checkpoint.py`), and a run that starts from such a file reads it.
"""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

METADATA_KEY = "smartbin"
"""Of the record of a run in the metadata of its weights."""
FROM = ", from "
"""Stands between the name of a run's weights and that of the weights which it started from."""


def name_with_origin(file: Path) -> str:
    """The file's name; if a run of ours wrote it, also the name of what that run started from."""
    try:
        with safe_open(file, framework="pt") as opened:
            record = json.loads((opened.metadata() or {}).get(METADATA_KEY, "{}"))
    except (SafetensorError, OSError, ValueError):
        return file.name  # whatever is wrong with it, loading it says so
    return f"{file.name}{FROM}{record['weights']}" if record.get("weights") else file.name
