"""Memory that a step frees is kept for the next one, on the CPU.

Called by `train/machine.py`. The C library returns large blocks to the system as soon as they are freed, and the system
clears every page before it hands it out again; a network allocates and frees gigabytes in each step, and on a CPU that
costs as much as a third to a half of the time.
"""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD = -1  # the numbers of /usr/include/malloc.h
_TOP_PAD = -2
_MMAP_MAX = -4
_NEVER = -1
_PAD_BYTES = 64 << 20


def keep_freed_memory() -> bool:
    """Whether this C library could be told to keep freed memory; it then does so until the process ends.

    Source: mallopt(3). Only glibc has all three settings; elsewhere nothing is changed.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, _PAD_BYTES))
    return all(library.mallopt(setting, value) for setting, value in settings)
