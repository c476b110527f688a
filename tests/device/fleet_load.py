"""A fleet on one Mosquitto: how many messages, are any lost, how long do they take, what does it cost?

python -m tests.device.fleet_load [BINS] [--seconds S] [--rate DECISIONS_A_SECOND_AND_BIN] [--restart]

Each bin is the real MQTT sink with an outbox on disk, fed with scripted decisions; the bins share a few processes.
With --restart the broker is ended and started again in the middle; it keeps what it has taken.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from datetime import datetime
from pathlib import Path

from device.clock import SystemClock
from device.events import Event
from device.sinks.mqtt_sink import MqttSink
from device.sinks.settings import MqttSettings
from tests.device.broker import Listener, Mosquitto, wait_until
from tests.device.test_sinks import SESSION, decision

PROCESSES = 2
_TICKS = os.sysconf("SC_CLK_TCK")


def fleet_load(folder: Path, *, bins: int, seconds: float, rate: float, restart: bool) -> dict[str, object]:
    """What came of it; percentiles in milliseconds, CPU in percent of one core."""
    lines = ("persistence true", f"persistence_location {folder}/broker/", "max_queued_messages 0")
    broker = Mosquitto(folder / "broker", *lines).start()
    taker = Taker(broker.port)
    each = max(1, round(seconds * rate))
    shares = [list(range(bins))[number::PROCESSES] for number in range(PROCESSES)]
    children = [_start(broker.port, folder, share, each, rate) for share in shares if share]
    try:
        begun_s, before = time.monotonic(), _spent(broker, taker)
        if restart:
            time.sleep(seconds / 2)
            before["broker_s"] -= _spent(broker, taker)["broker_s"]  # its successor begins at 0
            broker.end()
            time.sleep(1.0)
            broker.start()
        told = [json.loads(child.communicate(timeout=seconds + 300)[0]) for child in children]
        took_s = time.monotonic() - begun_s
        after = _spent(broker, taker)
        wait_until(lambda: taker.decisions >= bins * each, "all decisions", timeout_s=60)
    finally:
        for child in children:
            child.kill()
            child.wait()
        taker.close()
        broker.kill()
    return _outcome(taker, told, bins, each, took_s, {name: after[name] - before[name] for name in after})


class Taker(Listener):
    """Listens to everything and remembers the decisions of each bin and how old they were when they came."""

    def __init__(self, port: int) -> None:
        self.items: dict[str, list[int]] = defaultdict(list)
        self.ages_ms: list[float] = []
        self.kinds: Counter[str] = Counter()
        self._seen: set[str] = set()
        self.second_copies = self.decisions = self.bytes = 0
        self.cpu_s = 0.0
        super().__init__(port, lasting=True)
        self._client.on_message = lambda _, __, got: self._take(got.topic, got.payload)

    def _take(self, topic: str, payload: bytes) -> None:
        now_s = time.time()
        name, kind = topic.split("/")[-2:]
        self.kinds[kind] += 1
        self.bytes += len(payload)
        if kind == "event":
            record = json.loads(payload)
            if record["id"] in self._seen:
                self.second_copies += 1
                return
            self._seen.add(record["id"])
            self.items[name].append(record["item"])
            self.ages_ms.append((now_s - datetime.fromisoformat(record["time"]).timestamp()) * 1000)
            self.decisions += 1
        self.cpu_s = time.thread_time()


def _start(port: int, folder: Path, share: list[int], each: int, rate: float) -> subprocess.Popen[str]:
    told = json.dumps({"port": port, "folder": str(folder), "bins": share, "each": each, "rate": rate})
    return subprocess.Popen([sys.executable, "-m", __spec__.name, "--child", told], stdout=subprocess.PIPE, text=True)


def _child(port: int, folder: str, bins: list[int], each: int, rate: float) -> dict[str, float]:
    """Some of the bins: decisions in turn, evenly in time, until all are acknowledged."""
    sinks = {}
    for number in bins:
        name = f"bin-{number:03d}"
        settings = MqttSettings(
            enabled=True, host="127.0.0.1", port=port, buffer_file=Path(folder) / f"{name}.db", cap_s=5.0
        )
        sinks[number] = MqttSink(settings, name, SystemClock())
        sinks[number].start(SESSION)
    wait_until(lambda: all(sink._greeted for sink in sinks.values()), "all connections", timeout_s=60)
    begun_s, cpu_s, clock = time.monotonic(), time.process_time(), SystemClock()
    for turn in range(1, each + 1):
        for place, sink in enumerate(sinks.values()):
            due_s = begun_s + (turn - 1 + place / len(sinks)) / rate
            threading.Event().wait(max(0.0, due_s - time.monotonic()))
            sink.event(Event(clock.wall(), "decision", decision=decision(item=turn)))
    wait_until(lambda: all(sink.counts.sent == each for sink in sinks.values()), "all answers", timeout_s=120)
    spent_s, took_s = time.process_time() - cpu_s, time.monotonic() - begun_s
    for sink in sinks.values():
        sink.ask_to_stop()
    for sink in sinks.values():
        sink.close()
    counts = [sink.counts for sink in sinks.values()]
    return {
        "cpu": spent_s / took_s,
        "dropped": sum(count.dropped for count in counts),
        "waiting": sum(count.waiting for count in counts),
        "failures": sum(count.failures for count in counts),
    }


def _spent(broker: Mosquitto, taker: Taker) -> dict[str, float]:
    """CPU seconds so far."""
    assert broker._process is not None
    fields = Path(f"/proc/{broker._process.pid}/stat").read_text().rpartition(")")[2].split()
    return {"broker_s": (int(fields[11]) + int(fields[12])) / _TICKS, "listener_s": taker.cpu_s}


def _outcome(
    taker: Taker, told: list[dict[str, float]], bins: int, each: int, took_s: float, spent_s: dict[str, float]
) -> dict[str, object]:
    ages_ms = sorted(taker.ages_ms)
    expected = {f"bin-{number:03d}": list(range(1, each + 1)) for number in range(bins)}
    lost = sum(len(set(items) - set(taker.items[name])) for name, items in expected.items())
    return {
        "bins": bins,
        "seconds": round(took_s, 1),
        "decisions": bins * each,
        "lost": lost,
        "second_copies": taker.second_copies,
        "in_order": all(taker.items[name] == items for name, items in expected.items()),
        "messages": sum(taker.kinds.values()),
        "messages_by_kind": dict(taker.kinds),
        "messages_a_second": round(sum(taker.kinds.values()) / took_s, 1),
        "mean_bytes": round(taker.bytes / max(1, sum(taker.kinds.values()))),
        "age_ms": {name: round(ages_ms[int(share * (len(ages_ms) - 1))], 1) for name, share in _SHARES.items()},
        "broker_cpu_percent": round(100 * spent_s["broker_s"] / took_s, 1),
        "listener_cpu_percent": round(100 * spent_s["listener_s"] / took_s, 1),
        "all_bins_cpu_percent": round(100 * sum(one["cpu"] for one in told), 1),
        "failures": round(sum(one["failures"] for one in told)),
        "dropped": round(sum(one["dropped"] + one["waiting"] for one in told)),
    }


_SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bins", type=int, nargs="?", default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=0.5)
    parser.add_argument("--restart", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        print(json.dumps(_child(**json.loads(options.child))))
        return
    with tempfile.TemporaryDirectory() as folder:
        outcome = fleet_load(
            Path(folder), bins=options.bins, seconds=options.seconds, rate=options.rate, restart=options.restart
        )
    print(json.dumps(outcome, indent=1))


if __name__ == "__main__":
    main()
