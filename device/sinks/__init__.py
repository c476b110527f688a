"""Who is told what the bin decides: one module a sink, the group that keeps them apart, and what opens them."""

from device.sinks.group import Sink, SinkGroup
from device.sinks.json_lines import event_json
from device.sinks.plain import describe_decision

__all__ = ["Sink", "SinkGroup", "describe_decision", "event_json"]
