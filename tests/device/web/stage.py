"""A staged bin for the page's tests: a status that was told a few things, a real store with pictures, a tiny model."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from device.clock import ManualClock
from device.config import DeviceConfig
from device.decision import Decision
from device.events import Event, FrameView, Session
from device.presence import PresenceReading
from device.region_choice import RegionChoice
from device.status import BinStatus
from device.store_sink import open_store
from device.web.app import make_guarded
from device.web.context import Bin, make_bin
from device.web.memory import PageMemory
from device.web.parts import PageParts
from smartbin.brightness import Exposure
from smartbin.bundle import read_bundle
from smartbin.prediction import Prediction
from tests.device.staging import Bin as Tray
from tests.tiny_bundle import TINY_CLASSES

TOKEN = "a token that is long enough"
HOST = "http://127.0.0.1:8080"
LIGHT = Exposure(0.42, 0.01, 1.0)
UNSURE = Prediction("green", 0.5, 0.1, (0.4, 0.5, 0.1), -2.0)
SURE = Prediction("red", 0.9, 0.85, (0.9, 0.05, 0.05), -9.0)

PASSED_OVER = "TensorRT is not used: there is no <engine>"


def decision(item: int, kind: str = "accepted") -> Decision:
    """An item that is surely red, or perhaps green."""
    prediction = SURE if kind == "accepted" else UNSURE
    bin_name = "red" if kind == "accepted" else "general"
    return Decision(kind, prediction.label, prediction.confidence, bin_name, item, 4, 10.0, 10.6, LIGHT, prediction)


def view(seq: int, item: int = 0, state: str = "EMPTY", colour: str | None = None) -> FrameView:
    """A frame: an item of a colour, or the empty bin."""
    image = Tray(width=320, height=240).holding(colour) if colour else Tray(width=320, height=240).empty()
    box = (0.25, 0.25, 0.5, 0.5) if colour else None
    reading = PresenceReading(colour is not None, True, box=box)
    prediction = SURE if colour else None
    return FrameView(image, seq, "staged", state, item, "ok", LIGHT, reading, prediction, 30.0, ())


class StagedReloader:
    """Counts how often it was asked, and has refused what it is given as `refusal`."""

    def __init__(self) -> None:
        self.asked, self.refusal = 0, None

    def request(self) -> None:
        self.asked += 1


@dataclass
class StagedBin:
    """The bin, its clock, its application."""

    bin: Bin
    status: BinStatus
    clock: ManualClock
    app: ASGIApp
    settings: DeviceConfig
    looked_at: list
    reloader: StagedReloader
    memory: PageMemory
    region_file: Path

    def client(self, **options: object) -> TestClient:
        """Somebody who calls it by its address, from one of his own."""
        base = {"base_url": HOST, "client": ("10.0.0.7", 5000), "follow_redirects": False}
        return TestClient(self.app, **{**base, **options})


def stage_bin(
    folder: Path,
    bundle: Path,
    *,
    token: str | None = None,
    keeps: bool = True,
    test=lambda copy: None,
    page: dict[str, object] | None = None,
    items: tuple[str, ...] = ("accepted", "uncertain"),
    memory: PageMemory | None = None,
    **sections: object,
) -> StagedBin:
    """Stage a bin that has decided on `items`, one after the other, and keeps a picture of each."""
    offered = folder / "offered"
    offered.mkdir(parents=True, exist_ok=True)
    settings = DeviceConfig.model_validate(
        {
            "store": {"enabled": "on", "folder": folder / "store"},
            "samples": {"accepted_share": 1.0, "min_difference": 0.0, "min_free_mb": 0.0, "per_minute": 50},
            "page": {"enabled": True, "bundles_from": offered, **(page or {})},
            **sections,
            "bundles": {"folder": folder / "bundles", **sections.get("bundles", {})},
        }
    )
    clock, looked_at = ManualClock(time.time()), []
    status = BinStatus(clock)
    sinks = [status, *(open_store(settings.store, settings.samples, live=True) if keeps else [])]
    session = Session(
        "staged", "tiny 1 (fp32)", "onnxruntime-cpu", TINY_CLASSES, 0.6, "tiny", "1", passed_over=(PASSED_OVER,)
    )
    for sink in sinks:
        sink.start(session)
        sink.event(_event("lifecycle", lifecycle="RUNNING"))
        for number, kind in enumerate(items, 1):
            colour = "red" if kind == "accepted" else "green"
            sink.frame(view(10 * number, number, "JUDGING", colour))
            sink.event(_event("decision", decision=decision(number, kind), light="ok", age_ms=21.0))
            sink.frame(view(10 * number + 1, number, "DECIDED", colour))
    for sink in sinks[1:]:
        sink.close()
    status.timer.add("frame", 12.0)
    reloader, memory = StagedReloader(), memory or PageMemory(clock.now_s)
    parts = PageParts(
        "bin-7",
        settings,
        {"page.enabled": "the command line"},
        status,
        read_bundle(bundle),
        test,
        clock,
        RegionChoice(folder / "regions.json", "staged", settings.presence.region, looked_at.append),
        keeps,
        reloader,
        memory,
    )
    bin_ = make_bin(parts, token)
    app, drawn = make_guarded(bin_), folder / "regions.json"
    return StagedBin(bin_, status, clock, app, settings, looked_at, reloader, memory, drawn)


def blank(view_: FrameView, level: int) -> FrameView:
    """Another picture in the same view."""
    return replace(view_, image=np.full_like(view_.image, level), seq=view_.seq + 1)


def _event(kind: str, **fields: object) -> Event:
    return Event(datetime.now(timezone.utc), kind, **fields)
