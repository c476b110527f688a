"""Python's garbage collector in a process that runs for months."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_OFTEN = (700, 2, 1)  # of the small heap that is left even the oldest generation is looked at in a moment


@contextmanager
def settled_heap() -> Iterator[None]:
    """While in it, what is there now is left out of garbage collection: modules, the model, what was put together.

    Python collects its oldest generation only once a quarter as many objects wait as are in it. Beside the hundred
    thousand of the start that takes hours, in which all cycles stay in memory, and then it looks at all of them at
    once. Without them it comes round every few minutes and is done in a moment. Afterwards all is as it was.
    """
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.collect()  # nothing is left to look at: from now on a quarter of little is little
    gc.set_threshold(*_OFTEN)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
