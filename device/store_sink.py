"""The sink that keeps every event, and hands the pictures worth keeping to the ring of samples.

Called from the main loop; all that touches the disk happens in the writer's thread.
"""

from __future__ import annotations

import errno
import logging
import secrets
from collections.abc import Callable
from datetime import datetime, timezone
from typing import IO

from device.clock import Clock, SystemClock
from device.decision import Decision
from device.events import Event, FrameView, Session
from device.samples.picker import Picked, Picker
from device.samples.ring import SampleRing
from device.samples.settings import SampleSettings
from device.store.database import EventStore, check_version
from device.store.records import EventRecord, RunRecord
from device.store.retention import Retention
from device.store.settings import StoreSettings
from device.store.writer import StoreWriter
from smartbin.errors import ConfigError

_log = logging.getLogger(__name__)
_DISK_TROUBLE = {errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO}


class StoreSink:
    """Numbers the events of this run and gives them to the writer. With a picker and a ring it keeps pictures, too."""

    def __init__(
        self,
        writer: StoreWriter,
        picker: Picker | None = None,
        ring: SampleRing | None = None,
        lock: IO[str] | None = None,
        wall: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self.writer, self.ring = writer, ring
        self._picker, self._lock, self._wall = picker, lock, wall
        self._seq, self._closed = 0, False
        self._run_uid = secrets.token_hex(6)

    def start(self, session: Session) -> None:
        """Begin a run of the store."""
        self.writer.start(run_record(session, self._run_uid, self._wall()))

    def event(self, event: Event) -> None:
        """Hand it to the writer; a decision may be one whose picture is wanted."""
        self._seq += 1
        self.writer.put(event_record(event, self._seq))
        if self._picker is not None and event.decision is not None:
            self._picker.decided(event.decision, self._seq, _milliseconds(event.time))

    def frame(self, view: FrameView) -> None:
        """Look for the best picture of the item."""
        if self._picker is not None:
            self._keep(self._picker.frame(view))

    def close(self) -> None:
        """Write what waits."""
        if self._closed:
            return
        self._closed = True
        if self._picker is not None:
            self._keep(self._picker.finish())
        self.writer.close()
        if self._lock is not None:
            self._lock.close()

    def _keep(self, picked: Picked | None) -> None:
        ring = self.ring
        if picked is None or ring is None:
            return

        def keep(store: EventStore) -> None:
            ring.keep(store, picked, self._run_uid)

        self.writer.run_later(keep)


def open_store(
    store: StoreSettings, samples: SampleSettings, *, live: bool, clock: Clock | None = None
) -> list[StoreSink]:
    """The sink of a configuration for a source that is `live` or not; none where nothing is to be kept.

    `ConfigError` if another daemon writes the folder, a newer smartbin has written it, it cannot be written though
    events were asked for, or pictures are to be kept without events. A disk that is full or read-only is no reason not
    to start: the writer goes on trying.
    """
    if not store.keeps(live=live):
        if samples.enabled == "on":
            raise ConfigError(
                "pictures cannot be kept without events",
                where="[samples] enabled",
                found="on, while no events are kept",
                fix='set [store] enabled = "on", too',
            )
        return []
    paths = store.paths
    lock = _lock(store)
    try:
        check_version(paths)
    except BaseException:
        if lock is not None:
            lock.close()
        raise
    clock = clock if clock is not None else SystemClock()

    def wall_ms() -> int:
        return _milliseconds(clock.wall())

    retention = Retention(store.limits, clock.now_s)
    writer = StoreWriter(paths, retention, capacity=store.queue, wall_ms=wall_ms, now_s=clock.now_s)
    if samples.enabled == "off":
        return [StoreSink(writer, lock=lock, wall=clock.wall)]
    ring = SampleRing(paths.samples, samples, now_s=clock.now_s, wall_ms=wall_ms)
    return [StoreSink(writer, Picker(samples.accepted_share), ring, lock, clock.wall)]


def _lock(store: StoreSettings) -> IO[str] | None:
    folder = store.paths.folder
    try:
        return store.paths.lock()
    except OSError as error:
        fix = 'name a folder that can be written in [store] folder, or set [store] enabled = "off"'
        if store.enabled == "on" and error.errno not in _DISK_TROUBLE:
            raise ConfigError("cannot keep events here", where=folder, found=error.strerror, fix=fix) from error
        _log.error("events cannot be kept in %s for now (%s): %s", folder, error.strerror, fix)
        return None


def run_record(session: Session, uid: str, now: datetime) -> RunRecord:
    """What runs, as a row."""
    return RunRecord(
        uid=uid,
        started_ms=_milliseconds(now),
        source=session.source,
        model=session.model,
        model_name=session.model_name,
        model_version=session.model_version,
        runtime=session.runtime,
        classes=session.classes,
    )


def event_record(event: Event, seq: int) -> EventRecord:
    """An event as a row."""
    if event.decision is None:
        return EventRecord(
            seq,
            _milliseconds(event.time),
            event.kind,
            state=event.lifecycle,
            reason=event.reason,
            origin=event.origin,
            uid=event.id,
        )
    return _decision_record(event, event.decision, seq)


def _decision_record(event: Event, decision: Decision, seq: int) -> EventRecord:
    prediction, exposure = decision.prediction, decision.exposure
    return EventRecord(
        seq,
        _milliseconds(event.time),
        event.kind,
        reason=event.reason,
        decision=decision.kind,
        item=decision.item,
        label=decision.label,
        bin=decision.bin,
        confidence=round(decision.confidence, 5),
        margin=round(prediction.margin, 5) if prediction is not None else None,
        energy=round(prediction.energy, 4) if prediction is not None else None,
        probabilities=tuple(round(value, 5) for value in prediction.probabilities) if prediction is not None else (),
        frames=decision.frames,
        took_ms=round((decision.decided_s - decision.arrived_s) * 1000, 1),
        light=event.light,
        mean_luma=round(exposure.mean_luma, 5),
        clipped_fraction=round(exposure.clipped_fraction, 5),
        gamma=exposure.gamma,
        age_ms=None if event.age_ms is None else round(event.age_ms, 1),
        stage_ms=tuple((name, round(value, 2)) for name, value in event.stage_ms),
        truth=decision.truth,
        origin=event.origin,
        uid=event.id,
    )


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
