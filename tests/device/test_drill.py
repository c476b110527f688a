"""The whole daemon on the test camera, in real time: every kind of fault leaves its mark in what the daemon counts."""

from __future__ import annotations

import threading

from device.assembly import assemble
from device.clock import SystemClock
from device.config import load_config
from device.fault_plan import FAULT_KINDS
from device.opening import CameraOpener
from device.sinks import SinkGroup
from device.sources import parse_source
from smartbin.bundle import read_bundle
from smartbin.runtime import open_classifier


class Witness:
    """A sink that remembers states and light, and ends the run when every fault is over."""

    def __init__(self, opener, stop):
        self.opener, self.stop, self.states, self.lights = opener, stop, [], set()

    def start(self, session):
        """Nothing to do."""

    def event(self, event):
        if event.lifecycle is not None:
            self.states.append(event.lifecycle)

    def frame(self, view):
        self.lights.add(view.light)
        ended = [fault for fault in self.opener.drill.faults if fault.ended_s is not None]
        if len(ended) >= len(FAULT_KINDS):
            self.stop.set()

    def close(self):
        """Nothing to do."""


def test_every_kind_of_fault_is_noticed_and_survived(story, tiny_bundle):
    """Each kind once, for half a second, with limits that are shorter than that."""
    uri = f"test://scene:{story}?every_s=0.2&hold_s=0.6&seed=3&fps=40"
    config = load_config(
        None,
        {
            "source.uri": uri,
            "source.max_age_s": 0.1,
            "source.reconnect.first_s": 0.02,
            "source.reconnect.cap_s": 0.05,
            "source.reconnect.lost_after_s": 0.2,
            "source.reconnect.frozen_after_s": 0.3,
            "runtime.max_seconds": 60,
        },
    )
    clock, stop, source, bundle = SystemClock(), threading.Event(), parse_source(uri), read_bundle(tiny_bundle)
    opener = CameraOpener(source, config.source, bundle.manifest.classes, clock, stop)
    witness = Witness(opener, stop)
    classifier = open_classifier(bundle)
    sinks = SinkGroup([witness], reader_gone=stop.set)
    summary = assemble(config, source, bundle, classifier, sinks, clock, stop, opener).run()

    faults = {fault.kind: fault for fault in opener.drill.faults}
    assert faults.keys() == set(FAULT_KINDS)
    counts = summary.counts
    assert counts.too_old > 0, "slow, and frozen"
    assert counts.repeated > 0, "frozen"
    assert dict(counts.refused).keys() == {"empty", "torn", "size", "channels"}
    assert counts.reconnects >= 2, "frozen, and unplugged"
    assert "too_dark" in witness.lights, "black"
    assert witness.states.count("CAMERA_LOST") >= 2, "stalled, and unplugged"
    assert witness.states[-2:] == ["RUNNING", "STOPPING"]
