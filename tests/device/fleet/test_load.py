from __future__ import annotations

import pytest

pytest.importorskip("paho.mqtt", reason="no paho-mqtt here (pip install 'smartbin[mqtt]')")

from tests.device.broker import needs_mosquitto
from tests.device.fleet_load import fleet_load


@needs_mosquitto
def test_a_small_fleet_loses_nothing(tmp_path):
    """Six bins for two seconds; fifty of them are `python -m tests.device.fleet_load 50`."""
    outcome = fleet_load(tmp_path, bins=6, seconds=2.0, rate=5.0, restart=False)
    assert (outcome["decisions"], outcome["lost"], outcome["second_copies"]) == (60, 0, 0)
    assert outcome["in_order"]
    assert outcome["messages_by_kind"]["event"] == 60
    assert outcome["messages_by_kind"]["config"] == 6
    assert (outcome["failures"], outcome["dropped"]) == (0, 0)
