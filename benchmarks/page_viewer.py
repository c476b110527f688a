"""Somebody who looks at a bin's page, without a browser: takes what the page takes, until the bin ends.

    python -m benchmarks.page_viewer http://127.0.0.1:8080

That is the page with its style and script, then the live picture and, beside it, the stream of states. At the end it
prints one JSON object: how many of both came, and in how many seconds. A process of its own: what a browser does is no
work of the bin.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from http.client import HTTPException

_START_S, _LOOK_EVERY_S, _SILENT_S = 60.0, 0.1, 30.0
_FILES = ("/", "/static/page.css", "/static/page.js", "/static/icon.svg")
_CHUNK = 16 * 1024


@dataclass(frozen=True, slots=True)
class Seen:
    """What came: pictures of the live view, changes of the state, and the seconds from the first to the end."""

    pictures: int
    states: int
    seconds: float


def look(address: str) -> Seen:
    """Open the page as soon as it is served, and look until it ends. Blocks."""
    _open_page(address)
    begun_s, states = time.monotonic(), [0]
    follower = threading.Thread(target=lambda: states.append(_count(f"{address}/api/live", b"\ndata:")), daemon=True)
    follower.start()
    pictures = _count(f"{address}/api/live.mjpg", b"Content-Type: image/jpeg")
    follower.join(_SILENT_S)
    return Seen(pictures, states[-1], time.monotonic() - begun_s)


def _open_page(address: str) -> None:
    deadline_s = time.monotonic() + _START_S
    while True:
        try:
            for file in _FILES:
                urllib.request.urlopen(address + file, timeout=_SILENT_S).read()
            return
        except OSError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(_LOOK_EVERY_S)


def _count(address: str, mark: bytes) -> int:
    """How often `mark` comes in a stream, until it ends, cut off or not."""
    found, tail = 0, b"\n"
    try:
        with urllib.request.urlopen(address, timeout=_SILENT_S) as stream:
            while chunk := stream.read1(_CHUNK):
                text = tail + chunk
                found += text.count(mark)
                tail = text[-(len(mark) - 1) :]
    except (OSError, HTTPException) as error:  # the bin ended in the middle of a picture
        print(f"{address}: {error}", file=sys.stderr)
    return found


def main(arguments: Sequence[str]) -> None:
    """Look at the one address that is given."""
    (address,) = arguments
    print(json.dumps(asdict(look(address))))


if __name__ == "__main__":
    main(sys.argv[1:])
