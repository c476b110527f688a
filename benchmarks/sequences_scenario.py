"""One decision an item? Films of items that come and go, played to the daemon, whose every visit is known.

The daemon is put together by the code of `smartbin run`; only its camera is staged. A film has a time of its own, so
that it plays as fast as the machine can, and the decisions do not depend on how fast that is.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from benchmarks.decision_ledger import Ledger, settle, together
from benchmarks.film_kinds import KINDS, films_of
from benchmarks.film_sheet import draw_sheet
from benchmarks.item_films import Film, FilmCamera
from benchmarks.item_layers import HEIGHT, WIDTH, Bin, Item, panel_bin, photo_items, scene_bins
from benchmarks.photos import photos_below
from benchmarks.report import Cell, Measurement, Table
from device.assembly import assemble
from device.clock import SystemClock
from device.config import DeviceConfig, load_config
from device.decision import Decision
from device.events import Event, FrameView, Session
from device.sinks import SinkGroup
from device.sources import SceneSource
from smartbin.atomic import write_bytes_atomic
from smartbin.bundle import Bundle, read_bundle
from smartbin.classifier import Classifier
from smartbin.runtime import RuntimeName, open_classifier

_PANEL_BINS = 3


@dataclass(frozen=True, slots=True)
class SequencesOptions:
    """`items`: about so many of each kind of film. `photos` None: only the items of the built-in scene.

    `sheets`: a folder for a picture of each kind, to see what was played.
    """

    bundle: Path
    runtime: RuntimeName
    threads: int
    photos: Path | None
    names: Path | None
    items: int
    seed: int
    kinds: Sequence[str] = tuple(KINDS)
    fps: float = 30.0
    sheets: Path | None = None


class DecisionSink:
    """Keeps the decisions."""

    def __init__(self) -> None:
        self.decisions: list[Decision] = []

    def start(self, session: Session) -> None:
        """Nothing to prepare."""

    def event(self, event: Event) -> None:
        """Keep it if it is one."""
        if event.decision is not None:
            self.decisions.append(event.decision)

    def frame(self, view: FrameView) -> None:
        """Of frames nothing is kept."""

    def close(self) -> None:
        """Nothing is held."""


def run_sequences(options: SequencesOptions) -> Table:
    """Play every kind of film with rendered items and, if there are photos, with those. Blocks for minutes."""
    bundle = read_bundle(options.bundle)
    classifier = open_classifier(bundle, options.runtime, options.threads)
    config = load_config(None, {"sinks.terminal": "off"})
    stages = {"rendered": scene_bins()}
    if options.photos is not None:
        stages["photos"] = _photo_bins(options.photos, options.names, options.seed)
    rows: list[tuple[Cell, ...]] = []
    measured: list[Measurement] = []
    try:
        for stage, bins in stages.items():
            ledgers = {}
            for kind in options.kinds:
                films = [replace(film, fps=options.fps) for film in films_of(kind, bins, options.items, options.seed)]
                ledgers[kind] = together(play(film, config, bundle, classifier) for film in films)
                if options.sheets is not None:
                    _write_sheet(options.sheets / f"{stage}, {kind}.jpg", films[0])
            ledgers["all"] = together(ledgers.values())
            for kind, ledger in ledgers.items():
                rows.append(_cells(f"{stage}: {kind}", ledger))
                measured.append(_measurement(f"{stage}: {kind}", ledger))
    finally:
        classifier.close()
    return Table("sequences", _COLUMNS, tuple(rows), _notes(options, bundle, stages), tuple(measured))


def play(film: Film, config: DeviceConfig, bundle: Bundle, classifier: Classifier) -> Ledger:
    """Play one film to the daemon."""
    stop, kept = threading.Event(), DecisionSink()
    sinks = SinkGroup([kept], reader_gone=stop.set)
    daemon = assemble(
        config, SceneSource(), bundle, classifier, sinks, SystemClock(), stop, opener=lambda: FilmCamera(film)
    )
    daemon.run()
    return settle(film.visits, kept.decisions)


def _photo_bins(folder: Path, names: Path | None, seed: int) -> tuple[Bin, ...]:
    items = photo_items(photos_below(folder, None, names))
    shuffled: list[Item] = [items[index] for index in np.random.default_rng(seed).permutation(len(items))]
    return tuple(panel_bin(number, shuffled[number::_PANEL_BINS]) for number in range(_PANEL_BINS))


def _write_sheet(file: Path, film: Film) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_bytes_atomic(file, cv2.imencode(".jpg", draw_sheet(film))[1].tobytes())


_COLUMNS = (
    "film", "items", "once", "twice or more", "missed", "nothing there", "right", "wrong", "uncertain",
    "p50 s", "p95 s",
)  # fmt: skip


def _cells(name: str, ledger: Ledger) -> tuple[Cell, ...]:
    waits = ledger.waits_s
    percentiles = [float(value) for value in np.percentile(waits, [50, 95])] if waits else [None, None]
    return (
        name, len(ledger.fates), ledger.count(1), ledger.more_than_once, ledger.count(0), len(ledger.nothing_there),
        ledger.answers("right"), ledger.answers("wrong"), ledger.answers("uncertain"), *percentiles,
    )  # fmt: skip


def _measurement(name: str, ledger: Ledger) -> Measurement:
    """The waits in ms; accuracy is the part of the visits whose answer is right."""
    right = ledger.answers("right") / len(ledger.fates) if ledger.fates else None
    return Measurement.of(name, [1000 * wait_s for wait_s in ledger.waits_s], 0, accuracy=right)


def _notes(options: SequencesOptions, bundle: Bundle, stages: dict[str, tuple[Bin, ...]]) -> tuple[str, ...]:
    manifest = bundle.manifest
    things = ", ".join(f"{sum(len(staged.items) for staged in bins)} {name}" for name, bins in stages.items())
    return (
        f"{manifest.name} {manifest.precision}; {WIDTH} x {HEIGHT} at {options.fps:g} frames a second of the film's "
        f"own time, seed {options.seed}; different items: {things} (of photos, those on a plain ground).",
        "items: visits; once, twice or more, missed: by the decisions that fell on a visit; nothing there: decisions "
        "that fell on none.",
        "right, wrong, uncertain: the first decision of a visit; times: from the item's being held still to that.",
    )
