"""The soak: a short one of the real daemon, and what is made of faults and memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.report import read_report
from benchmarks.run import main
from benchmarks.soak_record import Record, Sample, look_back
from benchmarks.soak_scenario import Witness, at_tenths, growth_mb_an_hour, lowest_by_quarter
from device.capture import CaptureCounts
from device.clock import ManualClock
from device.events import FrameView
from device.fault_camera import InjectedFault
from device.fault_plan import FAULT_KINDS, FaultKind
from device.presence import PresenceReading
from smartbin.brightness import Exposure
from tests.tiny_bundle import write_tiny_bundle


def test_a_short_soak_notices_its_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = write_tiny_bundle(tmp_path / "tiny").path
    out = tmp_path / "soak.json"
    short = ["--minutes", "0.15", "--every", "0.3", "--hold", "0.6", "--seed", "1", "--out", str(out)]
    assert main(["soak", "--bundle", str(bundle), *short]) == 0
    assert "RESULT ok scenarios=soak" in capsys.readouterr().out
    (table,) = read_report(out).tables
    rows = {str(row[0]): row for row in table.rows}
    assert set(rows) == {*FAULT_KINDS, "all"}
    _, injected, noticed, *_ = rows["all"]
    assert isinstance(injected, int)
    assert isinstance(noticed, int)
    assert injected >= 3
    assert noticed > 0


def record(frames: list[float], counts: list[tuple[float, CaptureCounts]], dark: tuple[float, ...] = ()) -> Record:
    """One that has seen good frames at these moments, and these counts."""
    made = Record()
    made.frames.extend(sorted([*frames, *dark]))
    made.good.extend(frames)
    made.dark.extend(dark)
    made.samples.extend(Sample(now_s, found) for now_s, found in counts)
    return made


STEADY = [step / 10 for step in range(200)]
GAP = [moment for moment in STEADY if not 5.05 < moment < 6.95]
NONE = CaptureCounts()
SHOWS: dict[FaultKind, Record] = {
    "slow": record(STEADY, [(4.9, NONE), (8.0, CaptureCounts(too_old=3))]),
    "stall": record(GAP, [(4.9, NONE)]),
    "unplug": record(GAP, [(4.9, NONE)]),
    "freeze": record(STEADY, [(4.9, NONE), (8.0, CaptureCounts(repeated=40))]),
    "black": record(GAP, [(4.9, NONE)], dark=(5.5, 6.0)),
    "corrupt": record(STEADY, [(4.9, NONE), (8.0, CaptureCounts(refused=(("torn", 2),)))]),
    "wrong_size": record(STEADY, [(4.9, NONE), (8.0, CaptureCounts(refused=(("size", 2),)))]),
    "wrong_channels": record(STEADY, [(4.9, NONE), (8.0, CaptureCounts(refused=(("channels", 2),)))]),
}


@pytest.mark.parametrize("kind", FAULT_KINDS)
def test_each_kind_is_noticed_by_its_own_sign_alone(kind: FaultKind) -> None:
    fault = InjectedFault(1, kind, 5.0, 50, 2.0, 7.0)
    seen = look_back(fault, None, SHOWS[kind])
    assert seen is not None
    assert seen.noticed
    assert seen.recovery_s == pytest.approx(2.0 if kind in ("freeze", "corrupt", "wrong_size", "wrong_channels") else 0)
    unseen = look_back(fault, None, record(STEADY, [(4.9, NONE), (8.0, NONE)]))
    assert unseen is not None
    assert not unseen.noticed


def test_a_fault_that_is_on_at_the_end_is_not_counted() -> None:
    on = InjectedFault(1, "black", 5.0, 50, 2.0, None)
    over = InjectedFault(1, "black", 5.0, 50, 2.0, 19.95)  # and no good frame after it
    for fault in (on, over):
        assert look_back(fault, None, record(STEADY, [(4.9, NONE)])) is None


PICTURE = np.zeros((2, 2, 3), np.uint8)
READING = PresenceReading(present=False, still=True)
VIEW = FrameView(
    PICTURE,
    1,
    "test",
    "EMPTY",
    0,
    "ok",
    Exposure(0.4, 0.0, 1.0),
    PresenceReading(present=False, still=True),
    None,
    9.0,
    (),
)


def test_the_witness_judges_while_it_runs_and_forgets_what_is_judged() -> None:
    clock, faults = ManualClock(), list[InjectedFault]()
    counts = CaptureCounts()
    told = Witness(clock, lambda: counts, lambda: faults)
    most = 0
    for number in range(1, 201):
        frozen = number % 2 == 0  # every other fault is noticed
        for step in range(100):
            if step == 40:
                faults.append(InjectedFault(number, "freeze", clock.now_s(), 0, 1.0))
            if step == 50:
                faults[-1] = replace(faults[-1], ended_s=clock.now_s())
                counts = replace(counts, repeated=counts.repeated + frozen)
            told.frame(VIEW)
            clock.advance(0.02)
        told.sample()
        told.catch_up()
        most = max(most, told.held)
    told.close()
    found = told.seen["freeze"]
    assert found.noticed == 100
    assert list(found.recoveries_s) == pytest.approx([0.2] * 200)
    assert not any(len(tally.recoveries_s) for kind, tally in told.seen.items() if kind != "freeze")
    assert most < 1000  # moments: two faults' worth of frames, each in two lists, of 20,000


def test_the_witness_forgets_where_there_is_no_fault() -> None:
    clock = ManualClock()
    told = Witness(clock, CaptureCounts, lambda: ())
    for number in range(10_000):
        told.frame(VIEW)
        clock.advance(0.02)
        if number % 100 == 0:
            told.catch_up()
    assert told.held < 1000


@pytest.mark.parametrize("slope", [0.0, 12.0])
def test_growth_is_a_slope_with_its_error(slope: float) -> None:
    wave: Callable[[int], float] = lambda step: (-1) ** step * 0.2  # noqa: E731
    resident_mb = [100 + slope * step / 60 + wave(step) for step in range(120)]
    found, error = growth_mb_an_hour([60.0 * step for step in range(120)], resident_mb, 0.2)
    assert found == pytest.approx(slope, abs=3 * error + 1e-6)
    assert 0 < error < 0.2


@pytest.mark.parametrize(
    ("counts", "lowest"),
    [
        ([], []),
        ([5, 6, 7], []),
        ([9, 5, 8, 4, 7, 5, 6, 6], [5, 4, 5, 6]),
        ([1, 2, 3, 4, 0], [1, 2, 3, 4]),
    ],
    ids=["nothing", "too short", "two each", "the rest left out"],
)
def test_what_is_left_after_garbage_was_collected(counts: list[int], lowest: list[int]) -> None:
    assert lowest_by_quarter(counts) == lowest


def test_memory_is_told_tenth_by_tenth() -> None:
    assert at_tenths([float(moment) for moment in range(25)]) == [1, 4, 6, 9, 11, 14, 16, 19, 21, 24]
    assert at_tenths([1.0] * 9) == []
