"""The ring of kept pictures: JPEG files with a row each, in a bounded space. All of it runs in the store's thread.

A file is written whole and synced before its row is committed, and a row goes before its file, so that whatever
interrupts this leaves a file without a row, which is deleted at the next start.
"""

from __future__ import annotations

import logging
import re
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal, TypeAlias

import cv2
import numpy as np

from device.samples.fingerprint import difference, fingerprint
from device.samples.picker import Picked, Reason
from device.samples.quota import Quota
from device.samples.settings import SampleSettings
from device.store.database import EventStore
from smartbin.atomic import write_bytes_atomic
from smartbin.images import BgrImage

_log = logging.getLogger(__name__)
_DAY_MS = 86_400_000
_OUR_NAME = re.compile(r"\.?\d{8}T\d{6}-\w+-\d+\.jpg")  # also one that was being written
_REASONS: tuple[Reason, ...] = ("uncertain", "random")

Outcome: TypeAlias = Literal["kept", "duplicate", "over_quota", "disk_full", "ring_full", "no_event", "failed"]

_MAKES_ROOM = """
SELECT samples.id, file, samples.bytes, verdict IS NOT NULL AND verdict <> 'skip' AS labelled
FROM samples LEFT JOIN current_labels ON sample_id = samples.id
WHERE removed_ms IS NULL AND (verdict IS NULL OR verdict = 'skip' OR exported_ms IS NOT NULL)
ORDER BY labelled, verdict IS NULL,
  (SELECT sum(bytes) FROM samples AS same WHERE same.reason = samples.reason AND same.removed_ms IS NULL) DESC,
  samples.id
LIMIT 1
"""
"""Who goes first: skipped pictures, then the oldest unlabelled of the kind that takes more space, then the oldest that
were labelled and exported. One that was labelled and not yet exported never goes."""

_STANDS_FOR = """
UPDATE samples SET stands_for = stands_for + ? WHERE id = ? AND reason = 'random' AND EXISTS (
  SELECT 1 FROM events AS own JOIN runs AS own_run ON own_run.id = own.run_id, events AS new
    JOIN runs AS new_run ON new_run.id = new.run_id
  WHERE own.id = samples.event_id AND new.id = ? AND own.label = new.label AND own_run.model = new_run.model
)
"""


class SampleRing:
    """Keeps pictures. `counts` says what became of those that were offered."""

    def __init__(
        self,
        folder: Path,
        settings: SampleSettings,
        *,
        now_s: Callable[[], float] = time.monotonic,
        wall_ms: Callable[[], int] = lambda: int(time.time() * 1000),
        free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        self._folder, self._settings = folder, settings
        self._now_s, self._wall_ms, self._free_bytes = now_s, wall_ms, free_bytes
        self._store: EventStore | None = None
        self._hashes: dict[int, int] = {}
        self._quotas: dict[Reason, Quota] = {}
        self._told: dict[Outcome, str] = {}
        self.counts: Counter[Outcome] = Counter()

    @property
    def trouble(self) -> str:
        """What keeps pictures from being kept, as of the last one; any thread may ask."""
        return "; ".join(self._told.copy().values())

    @property
    def failures(self) -> tuple[int, int]:
        """Pictures that were lost to a disk or a space that is full, and to an error; any thread may ask."""
        counts = self.counts.copy()
        return counts["disk_full"] + counts["ring_full"], counts["failed"]

    def keep(self, store: EventStore, picked: Picked, run_uid: str) -> Outcome:
        """Keep a picture, unless there is a reason not to; errors of the disk are counted and said once.

        `sqlite3.DatabaseError` for a damaged store passes through.
        """
        try:
            outcome = self._keep(store, picked, run_uid)
            self._told.pop("failed", None)
        except (OSError, sqlite3.OperationalError) as error:
            outcome = "failed"
            self._say_once(outcome, f"pictures cannot be kept in {self._folder}: {error}")
        self.counts[outcome] += 1
        return outcome

    def begin(self, store: EventStore) -> None:
        """Bring files and rows together: delete files without a row and rows without a file; learn what is there."""
        self._folder.mkdir(parents=True, exist_ok=True)
        files = {path.name for path in self._folder.iterdir()}
        rows = store.connection.execute("SELECT id, file, hash FROM samples WHERE removed_ms IS NULL").fetchall()
        for number, file, _ in rows:
            if file not in files:
                self._forget(store, number)
        for name in files - {file for _, file, _ in rows}:
            if _OUR_NAME.match(name):  # whatever else lies there is somebody's
                (self._folder / name).unlink(missing_ok=True)
        self._hashes = {number: int(text, 16) for number, file, text in rows if file in files}
        self._quotas = {reason: self._quota(store, reason) for reason in _REASONS}
        self._store = store

    def _keep(self, store: EventStore, picked: Picked, run_uid: str) -> Outcome:
        if store is not self._store:  # the first picture, or a new store in the place of a damaged one
            self.begin(store)
        event_id = store.event_id(run_uid, picked.seq)
        if event_id is None:
            return "no_event"
        found = fingerprint(picked.image)
        if self._is_known(store, event_id, picked, found):
            return "duplicate"
        if not self._quotas[picked.reason].allows(self._now_s()):
            return "over_quota"
        if not self._disk_has_room():
            return "disk_full"
        data = encode(picked.image, self._settings.max_side, self._settings.quality)
        if not self._make_room(store, len(data)):
            return "ring_full"
        name = sample_name(picked.time_ms, run_uid, picked.seq)
        write_bytes_atomic(self._folder / name, data)
        try:
            number = _insert(store, event_id, picked, name, len(data), found)
        except BaseException:
            (self._folder / name).unlink(missing_ok=True)
            raise
        self._hashes[number] = found
        self._quotas[picked.reason].take(self._now_s())
        return "kept"

    def _is_known(self, store: EventStore, event_id: int, picked: Picked, found: int) -> bool:
        """Whether a kept picture looks like this one.

        Of drawn ones the kept one then stands for this one, too, or the accuracy would leave out what comes again and
        again; so only one does that was drawn, of the same model with the same guess. Else it is kept as well.
        """
        apart = sorted((difference(found, other), kept) for kept, other in self._hashes.items())
        alike = [kept for least, kept in apart if least < self._settings.min_difference]
        if not alike or picked.reason != "random":
            return bool(alike)
        for kept in alike:
            with store.transaction() as connection:
                counted = connection.execute(_STANDS_FOR, (1 / picked.share, kept, event_id)).rowcount
            if counted:
                return True
        return False

    def _disk_has_room(self) -> bool:
        free = self._free_bytes(self._folder)
        if free < self._settings.min_free_mb * 1e6:
            self._say_once(
                "disk_full", f"{free / 1e6:.0f} MB of disk are free: no pictures are kept until there is more"
            )
            return False
        self._told.pop("disk_full", None)
        return True

    def _make_room(self, store: EventStore, needed: int) -> bool:
        """Remove pictures until `needed` bytes fit; False if all that are left are labelled and not exported."""
        limit = self._settings.max_mb * 1e6
        if needed > limit:
            self._say_once("ring_full", f"a picture of {needed / 1e6:.1f} MB does not fit: raise [samples] max_mb")
            return False
        while used_bytes(store.connection) + needed > limit:
            row = store.connection.execute(_MAKES_ROOM).fetchone()
            if row is None:
                self._say_once(
                    "ring_full",
                    "the space for pictures is full of labelled ones: export them (smartbin dataset export), or raise "
                    "[samples] max_mb",
                )
                return False
            self._forget(store, row[0])
            (self._folder / row[1]).unlink(missing_ok=True)
        self._told.pop("ring_full", None)
        return True

    def _forget(self, store: EventStore, number: int) -> None:
        """Take a picture out of the ring. Where it was given a label that counts, its row stays for the estimate."""
        labelled = store.connection.execute(
            "SELECT 1 FROM current_labels WHERE sample_id = ? AND verdict <> 'skip'", (number,)
        ).fetchone()
        with store.transaction() as connection:
            if labelled:
                connection.execute("UPDATE samples SET removed_ms = ? WHERE id = ?", (self._wall_ms(), number))
            else:
                connection.execute("DELETE FROM samples WHERE id = ?", (number,))
        self._hashes.pop(number, None)

    def _quota(self, store: EventStore, reason: Reason) -> Quota:
        """A quota that remembers the last day, also over a restart."""
        wall_ms, now_s = self._wall_ms(), self._now_s()
        rows = store.connection.execute(
            "SELECT time_ms FROM samples WHERE reason = ? AND time_ms BETWEEN ? AND ?",
            (reason, wall_ms - _DAY_MS, wall_ms),
        ).fetchall()
        taken_s = [now_s - (wall_ms - time_ms) / 1000 for (time_ms,) in rows]
        return Quota(self._settings.per_minute, self._settings.per_hour, self._settings.per_day, taken_s)

    def _say_once(self, outcome: Outcome, text: str) -> None:
        if outcome not in self._told:
            self._told[outcome] = text
            _log.error("%s", text)


def encode(image: BgrImage, max_side: int, quality: int) -> bytes:
    """A picture as JPEG, shrunk where it is larger; `OSError` if OpenCV cannot."""
    height, width = image.shape[:2]
    if max(height, width) > max_side:
        scale = max_side / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise OSError("the picture could not be encoded")
    return bytes(data)


def sample_name(time_ms: int, run_uid: str, seq: int) -> str:
    """The name of a picture: unique among all bins, and the same in every export."""
    moment = datetime.fromtimestamp(time_ms / 1000, timezone.utc)
    return f"{moment:%Y%m%dT%H%M%S}-{run_uid}-{seq}.jpg"


def used_bytes(connection: sqlite3.Connection) -> int:
    """Space that the pictures take."""
    (total,) = connection.execute("SELECT coalesce(sum(bytes), 0) FROM samples WHERE removed_ms IS NULL").fetchone()
    return int(total)


def _insert(store: EventStore, event_id: int, picked: Picked, name: str, size: int, found: int) -> int:
    with store.transaction() as connection:
        connection.execute(
            "INSERT INTO samples (event_id, time_ms, reason, share, file, bytes, hash) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (event_id, picked.time_ms, picked.reason, picked.share, name, size, f"{found:x}"),
        )
        (number,) = connection.execute("SELECT id FROM samples WHERE event_id = ?", (event_id,)).fetchone()
    return int(number)
