"""What Hugging Face's library logs while it downloads weights: without a network two lines for each of a dozen tries.

`train/networks/weights.py` keeps these back. One line says that it goes on trying, and the error at the end the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from train.console import say

_LIBRARY = "huggingface_hub"
_SIGNS = ("Retrying in ", "thrown while requesting ")


class _Retries(logging.Filter):
    """Keeps back the lines of tries that failed, and says the first time that there are such."""

    def __init__(self) -> None:
        super().__init__()
        self._said = False

    def filter(self, record: logging.LogRecord) -> bool:
        if not any(sign in record.getMessage() for sign in _SIGNS):
            return True
        if not self._said:
            say("  the server of the weights does not answer; trying again for up to a minute")
            self._said = True
        return False


@contextmanager
def short_retries() -> Iterator[None]:
    """Inside, tries that failed are one line together; progress bars and other warnings come as ever."""
    handlers = list(logging.getLogger(_LIBRARY).handlers)
    retries = _Retries()
    for handler in handlers:
        handler.addFilter(retries)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(retries)
