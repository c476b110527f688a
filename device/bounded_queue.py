"""The bounded queue between the main loop, which must not wait, and a thread that writes or sends."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")


class BoundedQueue(Generic[Item]):
    """First in, first out; when it is full the oldest makes room, because news of a bin grow stale.

    With `waits` the main loop waits until there is room: only for recordings, of which nothing is to be lost.
    """

    def __init__(self, limit: int, *, waits: bool = False) -> None:
        self._items: deque[Item] = deque()
        self._limit, self._waits = limit, waits
        self._changed = threading.Condition()
        self._woken = False
        self.overflowed = 0

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Item) -> None:
        """Add an item; never waits, unless it was made to."""
        with self._changed:
            if self._waits:
                self._changed.wait_for(lambda: len(self._items) < self._limit)
            if len(self._items) >= self._limit:
                self._items.popleft()
                self.overflowed += 1
            self._items.append(item)
            self._changed.notify_all()

    def put_back(self, items: Sequence[Item]) -> None:
        """What was taken could not be handled: back to the front, the newest of it, as many as fit."""
        with self._changed:
            lost = max(0, len(items) + len(self._items) - self._limit)
            self._items.extendleft(reversed(items[lost:]))
            self.overflowed += lost

    def peek(self) -> Item | None:
        """The oldest, which stays."""
        with self._changed:
            return self._items[0] if self._items else None

    def remove(self, item: Item) -> bool:
        """Take out the oldest if it is still this one: it may have made room for a newer one in the meantime."""
        with self._changed:
            if self._items and self._items[0] is item:
                self._items.popleft()
                if self._waits:
                    self._changed.notify_all()
                return True
            return False

    def delivered(self, item: Item) -> None:
        """Take out the oldest, which has been sent; if it made room while it was, it was not lost after all."""
        if not self.remove(item):
            with self._changed:
                self.overflowed -= 1

    def take_all(self) -> list[Item]:
        """Everything that waits, oldest first."""
        with self._changed:
            everything = list(self._items)
            self._items.clear()
            return everything

    def wake(self) -> None:
        """End the wait of the thread behind the queue, now or the next one."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def wait(self, timeout_s: float | None, *, for_items: bool = True) -> None:
        """Wait until something is there (`for_items`), somebody calls `wake`, or the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._woken or (for_items and bool(self._items)), timeout_s)
            self._woken = False
