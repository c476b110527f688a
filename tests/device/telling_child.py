"""A bin that tells a broker, for tests to kill: prints the number of each item once it is in the outbox on disk.

python -m tests.device.telling_child PORT OUTBOX FIRST
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from device.clock import SystemClock
from device.events import Session
from device.sinks.bin_state import BinState
from device.sinks.mqtt_sink import MqttSink
from device.sinks.outbox import Outbox
from device.sinks.settings import MqttSettings
from tests.device.test_queued_sink import item
from tests.device.test_sinks import SESSION


class ToldSink(MqttSink):
    """Says on stdout what it promises: what is on disk is told to the broker, whatever happens."""

    def _store(self, outbox: Outbox, state: BinState, session: Session) -> None:
        queued = self._queue.take_all()
        for one in queued:
            self._queue.put(one)
        super()._store(outbox, state, session)
        for one in queued:
            assert one.event.decision is not None
            print(one.event.decision.item, flush=True)


def main() -> None:
    port, outbox, first = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    settings = MqttSettings(host="127.0.0.1", port=port, buffer_file=outbox, first_s=0.05, cap_s=0.2)
    sink = ToldSink(settings, "kitchen", SystemClock())
    sink.start(SESSION)
    pause = threading.Event()
    for number in range(first, first + 1_000_000):
        sink.event(item(number))
        pause.wait(0.002)


if __name__ == "__main__":
    main()
