"""A day of a bin in seconds: the real daemon on a clock that is told how late it is. What became of what it decided?

    python -m tests.device.simulated_day [DAYS] [--visits ITEMS_A_DAY]

Items come by day and in the dark, the broker is away for thirteen hours and restarts later, the camera is unplugged,
the wall clock is set forward and back, and is wrong by more than a year for half an hour. Old events are forgotten,
pictures have quotas. All that has threads of its own (broker, writer) works in real time; only the camera moves the
clock, and only once the main loop has done with the last frame.
"""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

import psutil
from rich.console import Console
from starlette.testclient import TestClient

from device.assembly import assemble
from device.clock import SystemClock
from device.config import DeviceConfig, load_config
from device.run_command import open_sinks, queue_counts
from device.samples.labels import Sample, SampleBook
from device.sinks import SinkGroup
from device.sources import DeviceSource
from device.status import BinStatus
from device.store.reader import EventReader
from device.store.records import StoredEvent
from device.store_sink import open_store
from device.web.app import make_guarded
from device.web.context import make_bin
from device.web.memory import PageMemory
from device.web.parts import PageParts
from smartbin.bundle import read_bundle
from smartbin.runtime import open_classifier
from tests.device.broker import MOSQUITTO, Listener, Mosquitto, wait_until
from tests.device.hall import HOUR_S, IDLE_S, WAIT_S, DayClock, Hall, HallCamera, Visit, draw_visits, hour_of, light_at
from tests.device.web.stage import StagedReloader
from tests.tiny_bundle import write_tiny_bundle

UNPLUG_H, UNPLUGGED_S = 7.0, 300.0
WRONG_H, RIGHT_H, YEAR_S = 9.0, 9.5, 400 * 24 * HOUR_S
PER_HOUR = 2
_TOPIC = "smartbin/hall/event"


@dataclass
class Day:
    """What came of it. `told` are the JSON lines, `heard` what a listener of the broker got, None without a broker."""

    start: datetime
    visits: list[Visit]
    told: list[dict] = field(default_factory=list)
    heard: list[dict] | None = None
    stored: list[StoredEvent] = field(default_factory=list)
    pictures: list[Sample] = field(default_factory=list)
    page_days: dict[str, int] = field(default_factory=dict)
    lights: Counter[str] = field(default_factory=Counter)
    ended: datetime | None = None
    state: str = ""
    frames: int = 0
    left: int = 0
    """Events that still waited, or were dropped, at the end."""
    objects: list[int] = field(default_factory=list)
    resident_mb: list[float] = field(default_factory=list)

    @property
    def decisions(self) -> list[dict]:
        return [record for record in self.told if record["event"] == "decision"]

    @property
    def seen(self) -> list[Visit]:
        """Those that came by light."""
        return [visit for visit in self.visits if light_at(hour_of(self.start + timedelta(seconds=visit.at_s))) == 1.0]


def live(folder: Path, start: datetime, *, days: int = 1, visits: int = 48, keep_h: float = 12.0, seed: int = 0) -> Day:
    """Live through `days` days from `start`, with so many items in each, a few seconds for each day."""
    hours = 24.0 * days
    drawn = draw_visits(start, hours, visits * days, seed)
    day, clock = Day(start, [visit for visit in drawn if not _is_unplugged(visit)]), DayClock(start)
    with ExitStack() as stack:
        broker = listener = None
        if MOSQUITTO is not None:
            lines = ("persistence true", f"persistence_location {folder}/broker/", "max_queued_messages 0")
            broker = Mosquitto(folder / "broker", *lines).start()
            stack.callback(broker.kill)
            listener = Listener(broker.port, _TOPIC, lasting=True)
            stack.callback(listener.close)
        config = _config(folder, broker, keep_h)
        _run(config, folder, day, clock, hours, _happenings(day, clock, broker, listener))
        day.told = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
        if listener is not None:
            day.heard = _hear(listener, len(day.told))
    return day


def _is_unplugged(visit: Visit) -> bool:
    return -IDLE_S < visit.at_s % (24 * HOUR_S) - UNPLUG_H * HOUR_S < 2 * UNPLUGGED_S


def _run(
    config: DeviceConfig,
    folder: Path,
    day: Day,
    clock: DayClock,
    hours: float,
    happenings: list[tuple[float, Callable[[HallCamera], None]]],
) -> None:
    bundle = read_bundle(write_tiny_bundle(folder / "bundle").path)
    classifier = open_classifier(bundle, "onnxruntime-cpu", 1)
    camera, status = HallCamera(Hall(day.visits), clock, hours * HOUR_S), BinStatus(clock)
    for first_h in range(0, round(hours), 24):
        for at_h, action in happenings:
            camera.happenings.append(((first_h + at_h) * HOUR_S, lambda action=action: action(camera)))
    kept = open_store(config.store, config.samples, live=True, clock=clock)
    sinks = SinkGroup([*open_sinks(config, Console(), SystemClock()), *kept, status, camera], reader_gone=lambda: None)
    source, stop = DeviceSource("hall"), threading.Event()
    daemon = assemble(config, source, bundle, classifier, sinks, clock, stop, camera.open, on_progress=clock.came_round)
    try:
        daemon.run()
    finally:
        classifier.close()
    day.frames, day.lights, day.ended, day.state = camera.frames, camera.lights, clock.wall(), camera.state
    day.left = sum(queue.waiting + queue.dropped for queue in queue_counts(kept, sinks) if queue.name != "pictures")
    reloader, memory = StagedReloader(), PageMemory(clock.now_s)
    parts = PageParts("hall", config, {}, status, bundle, lambda _: None, clock, lambda _: None, True, reloader, memory)
    _read_kept(day, parts)


def _config(folder: Path, broker: Mosquitto | None, keep_h: float) -> DeviceConfig:
    mqtt: dict[str, object] = {"enabled": False}
    if broker is not None:
        mqtt = {"enabled": True, "host": "127.0.0.1", "port": broker.port, "first_s": 0.05, "cap_s": 0.2}
    return load_config(
        None,
        {
            "device.name": "hall",
            "source.reconnect": {"lost_after_s": 1.5 * IDLE_S, "give_up_s": HOUR_S, "cap_s": 60.0},
            "runtime.stall_s": HOUR_S,
            "decision.mode": "item",
            "sinks.json_lines": str(folder / "events.jsonl"),
            "sinks.terminal": "off",
            "sinks.mqtt": {**mqtt, "buffer_file": str(folder / "mqtt.db"), "flush_s": WAIT_S},
            "store": {"enabled": "on", "folder": folder / "store", "keep_days": keep_h / 24},
            "samples": {"accepted_share": 1.0, "per_hour": PER_HOUR, "min_difference": 0.0, "min_free_mb": 0.0},
        },
    )


def _happenings(
    day: Day, clock: DayClock, broker: Mosquitto | None, listener: Listener | None
) -> list[tuple[float, Callable[[HallCamera], None]]]:
    """What happens at which hour, every day again."""

    def set_clock(by_s: float) -> Callable[[HallCamera], None]:
        return lambda _: setattr(clock, "wrong_s", clock.wrong_s + by_s)

    def unplug(camera: HallCamera) -> None:
        camera.unplugged_until_s = clock.now_s() + UNPLUGGED_S

    def start_broker(_: HallCamera) -> None:
        if broker is not None and listener is not None:
            broker.start()
            listener.wait()

    def end_broker(_: HallCamera) -> None:
        if broker is not None:
            broker.end()

    def weigh(_: HallCamera) -> None:
        gc.collect()
        day.objects.append(len(gc.get_objects()))
        day.resident_mb.append(psutil.Process().memory_info().rss / 2**20)

    return [
        (1.0, end_broker),
        (3.0, set_clock(90)),
        (5.0, set_clock(-130)),
        (6.0, weigh),
        (UNPLUG_H, unplug),
        (WRONG_H, set_clock(YEAR_S)),
        (RIGHT_H, set_clock(-YEAR_S)),
        (14.0, start_broker),
        (18.0, end_broker),
        (18.0, start_broker),
        (23.9, weigh),
    ]


def _hear(listener: Listener, number: int) -> list[dict]:
    """What was heard, second copies left out."""

    def heard() -> dict[str, dict]:
        records = [json.loads(payload) for payload in listener.on(_TOPIC)]
        return {record["id"]: record for record in records}

    wait_until(lambda: len(heard()) >= number, f"{number} events", timeout_s=WAIT_S)
    return list(heard().values())


def _read_kept(day: Day, parts: PageParts) -> None:
    """The store, the pictures, and what the page says of the last three days."""
    paths = parts.config.store.paths
    with EventReader(paths) as reader:
        page = reader.latest(1000)
        while page:
            day.stored += page
            page = reader.latest(1000, before=page[-1].id)
    day.stored.reverse()
    day.pictures = SampleBook(paths).waiting(10_000)
    client = TestClient(make_guarded(make_bin(parts, None)), base_url="http://127.0.0.1:8080")
    counts = client.get("/api/counts?days=3").raise_for_status().json()
    day.page_days = {one["day"]: sum(one["counts"].values()) for one in counts["days"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("days", type=int, nargs="?", default=1)
    parser.add_argument("--visits", type=int, default=48)
    options = parser.parse_args()
    start, begun_s = datetime.now(timezone.utc), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        day = live(Path(folder), start, days=options.days, visits=options.visits, keep_h=24.0 * 365)
    stored = {one.event.uid for one in day.stored}
    told = [record["id"] for record in day.told]
    heard = None if day.heard is None else [record["id"] for record in day.heard]
    outcome = {
        "days": options.days,
        "seconds": round(time.monotonic() - begun_s, 1),
        "frames": day.frames,
        "items_by_light": len(day.seen),
        "items_in_the_dark": len(day.visits) - len(day.seen),
        "decisions": len(day.decisions),
        "events": len(told),
        "not_in_the_store": len(set(told) - stored),
        "not_at_the_broker": None if heard is None else len(set(told) - set(heard)),
        "in_order_at_the_broker": heard == told,
        "pictures": len(day.pictures),
        "objects": [day.objects[0], day.objects[-1]],
        "resident_mb": [round(day.resident_mb[0], 1), round(day.resident_mb[-1], 1)],
    }
    print(json.dumps(outcome, indent=1))


if __name__ == "__main__":
    main()
