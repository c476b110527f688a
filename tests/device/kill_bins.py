"""Kills bins with SIGKILL at random moments while they tell a broker that is restarted now and then: is anything lost?

python -m tests.device.kill_bins [KILLS]
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from device.clock import SystemClock
from device.sinks.mqtt_sink import MqttSink
from device.sinks.settings import MqttSettings
from tests.device.broker import Listener, Mosquitto, wait_until
from tests.device.test_sinks import SESSION

TOPIC = "smartbin/kitchen/event"


def kill_bins(folder: Path, *, rounds: int, broker_every: int, seed: int) -> dict[str, object]:
    """What came of it. A broker that is restarted keeps what it took, so that all that was committed must arrive."""
    chance, begun_s = random.Random(seed), time.monotonic()
    lines = ("persistence true", f"persistence_location {folder}/broker/", "max_queued_messages 0")
    broker = Mosquitto(folder / "broker", *lines).start()
    listener = Listener(broker.port, TOPIC, lasting=True)
    sink: MqttSink | None = None
    try:
        committed: list[int] = []
        for turn in range(rounds):
            first = committed[-1] + 1000 if committed else 1
            restart = turn % broker_every == broker_every // 2
            committed += _one_life(broker, listener, folder / "outbox.db", first, chance, restart=restart)
        settings = MqttSettings(host="127.0.0.1", port=broker.port, buffer_file=folder / "outbox.db")
        sink = MqttSink(settings, "kitchen", SystemClock())
        sink.start(SESSION)
        wait_until(lambda: set(committed) <= set(listener.items(TOPIC)), "all that was committed", timeout_s=60)
        received, copies = listener.items(TOPIC), len(listener.on(TOPIC))
    finally:
        if sink is not None:
            sink.close()
        listener.close()
        broker.kill()
    return {
        "kills": rounds,
        "committed": len(committed),
        "lost": len(set(committed) - set(received)),
        "received": len(received),
        "second_copies": copies - len(received),
        "in_order": received == sorted(received),
        "seconds": round(time.monotonic() - begun_s),
    }


def _one_life(
    broker: Mosquitto, listener: Listener, outbox: Path, first: int, chance: random.Random, *, restart: bool
) -> list[int]:
    """A bin from its start to its kill; the numbers of the items that it had on disk."""
    command = [sys.executable, "-m", "tests.device.telling_child", str(broker.port), str(outbox), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = child.stdout.readline()
        time.sleep(chance.uniform(0.0, 0.4))
        if restart:
            broker.end()
            time.sleep(chance.uniform(0.0, 0.2))
            broker.start()
            listener.wait()
        child.kill()
        said += child.stdout.read()
    return [int(line) for line in said.split("\n")[:-1]]  # the last one may have been cut off


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
        print(json.dumps(kill_bins(Path(folder), rounds=count, broker_every=10, seed=4)))
