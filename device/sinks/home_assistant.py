"""The bin as a device of Home Assistant: one retained message tells it everything (device-based MQTT discovery).

Its format: https://www.home-assistant.io/integrations/mqtt/#discovery-messages-and-availability, since 2024.11.
"""

from __future__ import annotations

import json

from device.events import Session
from device.sinks.topics import OFFLINE, ONLINE, Topics


def discovery_topic(prefix: str, name: str) -> str:
    """Where Home Assistant looks for devices."""
    return f"{prefix}/device/smartbin_{name}/config"


def discovery_record(name: str, topics: Topics, session: Session, version: str) -> dict[str, object]:
    """The discovery message; every value is taken from the retained state."""
    sensors: dict[str, dict[str, object]] = {
        "label": _sensor("Last item", "mdi:recycle", "{{ value_json.last.label }}"),
        "confidence": _sensor(
            "Confidence",
            "mdi:percent",
            "{{ (value_json.last.confidence * 100) | round(1) if value_json.last.confidence is number else None }}",
            unit_of_measurement="%",
            state_class="measurement",
        ),
        "decision": _sensor("Decision", "mdi:scale-balance", "{{ value_json.last.decision }}"),
        "flap": _sensor("Flap", "mdi:trash-can", "{{ value_json.last.bin }}"),
        "state": _sensor("State", "mdi:state-machine", "{{ value_json.state }}", entity_category="diagnostic"),
        "items": _counter("Items", "{{ value_json.counts.decisions }}"),
        "uncertain": _counter("Unsure", "{{ value_json.counts.uncertain }}"),
        **{
            f"class_{index}": _counter(label.capitalize(), f"{{{{ value_json.counts.labels[{json.dumps(label)}] }}}}")
            for index, label in enumerate(session.classes)
        },
        "camera": {
            "platform": "binary_sensor",
            "name": "Camera",
            "device_class": "problem",
            "entity_category": "diagnostic",
            "value_template": "{{ 'ON' if value_json.state == 'CAMERA_LOST' else 'OFF' }}",
        },
    }
    return {
        "device": {
            "identifiers": [f"smartbin_{name}"],
            "name": name,
            "manufacturer": "smartbin",
            "model": session.model,
            "sw_version": version,
        },
        "origin": {"name": "smartbin", "sw_version": version},
        "availability_topic": topics.availability,
        "payload_available": ONLINE,
        "payload_not_available": OFFLINE,
        "state_topic": topics.state,
        "qos": 1,
        "components": {key: {**sensor, "unique_id": f"smartbin_{name}_{key}"} for key, sensor in sensors.items()},
    }


def _sensor(name: str, icon: str, template: str, **more: str) -> dict[str, object]:
    return {"platform": "sensor", "name": name, "icon": icon, "value_template": template, **more}


def _counter(name: str, template: str) -> dict[str, object]:
    return _sensor(name, "mdi:counter", template, state_class="total_increasing")
