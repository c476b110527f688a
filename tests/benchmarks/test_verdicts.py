"""Faster, slower or no difference, from samples that were made up; reports that are held against each other."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.conditions import MachineState, read_conditions
from benchmarks.report import Measurement, Report, Table, read_report
from benchmarks.results import default_path, result_line, write_results
from benchmarks.verdict import compare, judge, machine_noise
from device.machine import ThisMachine
from smartbin.errors import ConfigError


def _samples(median_ms: float, *, seed: int = 0, count: int = 200, spread: float = 0.1) -> list[float]:
    """Skewed as latencies are: most near the median, a few far above it."""
    rng = np.random.default_rng(seed)
    return list(median_ms * np.exp(rng.normal(0, spread, count)) + rng.exponential(0.02 * median_ms, count))


@pytest.mark.parametrize(
    ("earlier_ms", "later_ms", "tolerance", "finding"),
    [
        pytest.param(_samples(10), _samples(10, seed=1), 0.02, "no difference seen", id="the same"),
        pytest.param(_samples(10), _samples(12, seed=1), 0.02, "slower", id="a fifth slower"),
        pytest.param(_samples(10), _samples(8, seed=1), 0.02, "faster", id="a fifth faster"),
        pytest.param(_samples(10), _samples(12, seed=1), 0.3, "no difference seen", id="the machine moved by more"),
        pytest.param(_samples(10, count=8, spread=0.5), _samples(12, seed=1, count=8, spread=0.5), 0.02,
                     "no difference seen", id="too few and too noisy"),
        pytest.param([5.0] * 30, [5.05] * 30, 0.02, "no difference seen", id="a hundredth is none"),
        pytest.param([5.0] * 7, [10.0] * 100, 0.02, "too few samples", id="seven are none"),
    ],
)  # fmt: skip
def test_finding(earlier_ms: list[float], later_ms: list[float], tolerance: float, finding: str) -> None:
    found = judge(earlier_ms, later_ms, tolerance)
    assert found.finding == finding
    assert found.low <= found.ratio <= found.high


def test_a_slow_stretch_widens_the_interval() -> None:
    """Blocks: forty slow laps in a row are one event, not forty."""
    apart = [12.0 if number % 2 else 10.0 for number in range(80)]
    together = [10.0] * 40 + [12.0] * 40
    widths = [found.high - found.low for found in (judge([10.0] * 80, samples, 0.02) for samples in (apart, together))]
    assert widths[1] >= widths[0]


def test_noise_is_what_the_yardstick_moved() -> None:
    steady = {"compute": [1.0] * 40, "memory": [2.0] * 40}
    assert machine_noise(steady, steady) == 0.05
    assert machine_noise(steady, {**steady, "memory": [2.5] * 40}) == pytest.approx(0.25)
    assert machine_noise({**steady, "compute": [1.0] * 20 + [1.5] * 20}, steady) == pytest.approx(0.5)


def _report(*measurements: Measurement) -> Report:
    state = MachineState(load=0.1, cpu_mhz=None, gpu_mhz=None, temperature_c=None, power_w=None)
    table = Table("s", ("row", "p50"), tuple((item.name, 1.0) for item in measurements), (), measurements)
    return Report(
        created_utc="2026-01-02T03:04:05Z",
        command="smartbin-bench s",
        conditions=read_conditions(ThisMachine()),
        state_before=state,
        state_after=state,
        yardstick_ms={"compute": (1.0,) * 40},
        tables=(table,),
    )


def test_every_row_gets_a_verdict_and_lonely_ones_are_named() -> None:
    before = _report(
        Measurement.of("a", _samples(10), 3), Measurement.of("b", _samples(10), 3), Measurement.of("gone", [1.0], 3)
    )
    after = _report(
        Measurement.of("a", _samples(10, seed=2), 3, accuracy=0.9),
        Measurement.of("b", _samples(20, seed=2), 3),
        Measurement.of("new", [1.0], 3),
        Measurement.of("untimed", [], 0),
    )
    table = compare(before, after, "base.json")
    assert [(row[0], row[-1]) for row in table.rows] == [("s: a", "no difference seen"), ("s: b", "slower")]
    assert table.rows[0][-2] == 0.9
    assert any("not in the baseline: s: new" in note for note in table.notes)
    assert any("in the baseline only: s: gone" in note for note in table.notes)


@pytest.mark.parametrize(("agreement", "passed"), [(0.99, True), (0.5, False), (None, True)])
def test_the_last_line_says_whether_answers_agree(agreement: float | None, passed: bool) -> None:
    report = _report(Measurement.of("a", [1.0], 3, agreement=1.0), Measurement.of("b", [1.0], 3, agreement=agreement))
    line, found = result_line(report, Path("x.json"), None, min_agreement=0.95)
    assert found is (passed or agreement is None)
    assert line.startswith("RESULT ok" if found else "RESULT FAILED")
    assert line.endswith("json=x.json")


def test_files_of_a_run_can_be_read_back(tmp_path: Path) -> None:
    report = _report(
        Measurement.of("a", [1.23456789], 3, accuracy=0.9),
        Measurement.of("b, batch 1", [2.0, 3.0], 3, accuracy=0.8),
        Measurement.of("b, batch 4", [8.0, 9.0], 3, accuracy=0.8),
        Measurement.of("never ran", [], 0),
    )
    path = tmp_path / default_path(report)
    write_results(path, report, None)
    assert read_report(path) == report
    assert read_report(path).tables[0].measurements[0].samples_ms == (1.2346,)
    assert "s_" in path.name
    assert "20260102T030405Z" in path.name
    text = path.with_suffix(".md").read_text(encoding="utf-8")
    assert "### s" in text
    for kind in ("latency", "accuracy"):
        plot = path.with_name(f"{path.stem}.s.{kind}.png")
        assert plot.read_bytes().startswith(b"\x89PNG")
        assert f"]({plot.name})" in text


def test_without_matplotlib_there_are_no_plots_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "train.report.figure_files", None)
    write_results(tmp_path / "x.json", _report(Measurement.of("a", [1.0], 3)), None)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["x.json", "x.md"]
    assert "no plots" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "{}", '{"schema_version": 1}', None])
def test_what_is_no_result_is_refused(text: str | None, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="no benchmark result"):
        read_report(path)


def test_measurements_have_names_of_their_own() -> None:
    with pytest.raises(ValueError, match="names of their own"):
        Table("s", ("a",), (), (), (Measurement("x", (1.0,), 3), Measurement("x", (1.0,), 3)))


def test_a_row_without_samples_has_no_percentiles() -> None:
    assert Measurement("x", (), 0).cells == (0, 0, None, None, None, None)
