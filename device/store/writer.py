"""The thread that writes the event store. The main loop hands events over and never waits.

A full or read-only disk stops nothing: events wait in a bounded queue, the oldest are dropped and counted when it is
full, and writing resumes when the disk lets it. A damaged store is put aside, and a new one is begun.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

from device.backoff import Backoff
from device.bounded_queue import BoundedQueue
from device.store.database import EventStore, is_damage
from device.store.paths import StorePaths
from device.store.records import EventRecord, RunRecord
from device.store.retention import Retention
from smartbin.errors import SmartbinError

_log = logging.getLogger(__name__)
_TASKS = 4  # tasks hold pictures: some megabytes each
_SWEEP_EVERY_S = 600.0
_DAMAGE_AGAIN_S = 60.0  # a new store that is damaged so soon means a dying disk: wait as for a full one

Task: TypeAlias = Callable[[EventStore], None]


@dataclass(frozen=True, slots=True)
class WriterCounts:
    """What became of the events: committed, dropped unwritten, still waiting; and of the tasks after them."""

    written: int = 0
    dropped: int = 0
    waiting: int = 0
    failures: int = 0
    damaged: int = 0
    tasks_dropped: int = 0


class StoreWriter:
    """A bounded queue and the thread behind it.

    Whatever waits is committed together, and what comes while nothing waits is committed at once.
    """

    def __init__(
        self,
        paths: StorePaths,
        retention: Retention,
        *,
        capacity: int = 2000,
        on_commit: Callable[[Sequence[int]], None] | None = None,
        retry_s: tuple[float, float] = (1.0, 60.0),
        wall_ms: Callable[[], int] = lambda: int(time.time() * 1000),
        now_s: Callable[[], float] = time.monotonic,
        open_store: Callable[..., EventStore] = EventStore.open,
    ) -> None:
        self._paths, self._retention = paths, retention
        self._on_commit, self._open_store = on_commit, open_store
        self._backoff = Backoff(*retry_s, jitter=0.0)  # nobody else waits for this disk
        self._wall_ms, self._now_s = wall_ms, now_s
        self._events = BoundedQueue[EventRecord](capacity)
        self._tasks: list[Task] = []
        self._tasks_lock, self._closing = threading.Lock(), threading.Event()
        self._written = self._failures = self._damaged = self._tasks_dropped = 0
        self._run: RunRecord | None = None
        self._store: EventStore | None = None
        self._checked = False
        self._pause_s = 0.0
        self._sweep_due_s = 0.0
        self._put_aside_s = float("-inf")
        self._task_failed = False
        self._thread = threading.Thread(target=self._work, name="event store", daemon=True)
        self.trouble: str | None = None
        """What keeps it from writing at the moment."""

    def start(self, run: RunRecord) -> None:
        """Start the thread, which opens the store; the run's row is written with its first event."""
        self._run = run
        self._thread.start()

    def put(self, event: EventRecord) -> None:
        """Hand an event over. Never waits; where no more fit the oldest one waiting is dropped and counted."""
        self._events.put(event)

    def run_later(self, task: Task) -> bool:
        """Have `task` called in the thread once all events so far are committed. Never waits; False: too many wait.

        What it raises is logged and counted like a failure to write; it is not tried again.
        """
        with self._tasks_lock:
            if len(self._tasks) >= _TASKS or self.trouble is not None:
                self._tasks_dropped += 1
                return False
            self._tasks.append(task)
        self._events.wake()
        return True

    @property
    def counts(self) -> WriterCounts:
        """What became of everything so far."""
        events = self._events
        return WriterCounts(
            self._written, events.overflowed, len(events), self._failures, self._damaged, self._tasks_dropped
        )

    def close(self, timeout_s: float = 5.0) -> bool:
        """Write what waits and stop; False if that could not be done in time. May be called twice."""
        self._closing.set()
        self._events.wake()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        lost = self.counts.waiting
        if lost:
            _log.error("%d events were not written: %s", lost, self.trouble or "the disk is too slow")
        return not self._thread.is_alive() and lost == 0

    def _work(self) -> None:
        while self._wait():
            try:
                store = self._opened()
                self._write(store)
                self._sweep_if_due(store)
                self._recovered()
            except Exception as error:  # noqa: BLE001 - whatever the disk does, the bin goes on sorting
                self._failed(error)
        self._close_store()

    def _wait(self) -> bool:
        """Until there is something to do; False when it is over: closing, and nothing left that can be written."""
        if self.trouble is not None:
            if self._closing.is_set():
                return False  # tried since it was asked to close, or just now
            self._closing.wait(self._pause_s)
            return True
        if self._store is not None and not self._tasks and not self._closing.is_set():
            self._events.wait(max(0.0, self._sweep_due_s - self._now_s()))
        return bool(self._events or self._tasks or not self._closing.is_set())

    def _opened(self) -> EventStore:
        if self._store is not None and not self._paths.database.exists():  # deleted under us: begin a new one
            self._close_store()
        if self._store is None:
            self._store = self._open_store(self._paths, check=not self._checked)
            self._checked = True
        return self._store

    def _write(self, store: EventStore) -> None:
        with self._tasks_lock:  # before the events: whatever was put before a task is committed before it
            tasks, self._tasks = self._tasks, []
        batch = self._events.take_all()
        if batch:
            self._commit(store, batch, len(tasks))
        for task in tasks:
            self._attempt(task, store)

    def _commit(self, store: EventStore, batch: list[EventRecord], tasks: int) -> None:
        assert self._run is not None, "started without a run"
        try:
            ids = store.add(self._run, batch)
        except BaseException:
            self._events.put_back(batch)
            with self._tasks_lock:
                self._tasks_dropped += tasks
            raise
        self._written += len(ids)
        if self._on_commit is not None:
            self._on_commit(ids)

    def _attempt(self, task: Task, store: EventStore) -> None:
        """Run a task; a damaged store is everybody's trouble, all else the task's own."""
        try:
            task(store)
            self._task_failed = False
        except Exception as error:
            self._failures += 1
            if is_damage(error):
                raise
            if not self._task_failed:  # said once, not with every picture
                _log.error("a picture was not kept: %s", error)
            self._task_failed = True

    def _sweep_if_due(self, store: EventStore) -> None:
        if self._now_s() >= self._sweep_due_s:
            self._sweep_due_s = self._now_s() + _SWEEP_EVERY_S
            self._retention.sweep(store.connection, self._wall_ms())

    def _failed(self, error: Exception) -> None:
        """Say it once, and wait longer each time; begin a new store in the place of a damaged one, at once."""
        self._close_store()
        self._failures += 1
        if is_damage(error) and self._put_aside(error):
            return
        self._pause_s = self._backoff.next_s()
        if self.trouble is None:
            told = error.what if isinstance(error, SmartbinError) else str(error)
            _log.error("events cannot be written to %s, the bin goes on without: %s", self._paths.database, told)
        self.trouble = str(error)

    def _put_aside(self, error: Exception) -> bool:
        if self._now_s() - self._put_aside_s < _DAMAGE_AGAIN_S:
            return False
        try:
            aside = self._paths.put_aside()
        except OSError:  # a disk that cannot be written to: said by the caller
            return False
        self._put_aside_s = self._now_s()
        self._damaged += 1
        _log.error("the event store was damaged (%s): it is now %s, and a new one is begun", error, aside)
        return True

    def _recovered(self) -> None:
        if self.trouble is None:
            return
        self.trouble = None
        self._backoff.reset()
        _log.warning("events are written again; %d were dropped so far", self.counts.dropped)

    def _close_store(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            with suppress(sqlite3.Error):
                store.close()
