"""What a run did: counted while it runs, printed at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from device.capture import CaptureCounts
from device.decision import Decision
from device.sinks.health import SinkCounts
from device.sinks.plain import TERMINAL
from smartbin.latency import LatencySummary


@dataclass(frozen=True, slots=True)
class Score:
    """How the decisions compare with the truth, where the source knows it (the scene, folders named after classes)."""

    shown: int
    right: int
    wrong: int
    undecided: int
    nothing_there: int

    @property
    def missed(self) -> int:
        """Items that no decision fell on."""
        return max(0, self.shown - self.right - self.wrong - self.undecided)


@dataclass(frozen=True, slots=True)
class RunSummary:
    """The whole run. `fps` is frames over the time from the first to the last."""

    seconds: float
    frames: int
    fps: float
    counts: CaptureCounts
    items: int
    by_label: tuple[tuple[str, int], ...]
    by_kind: tuple[tuple[str, int], ...]
    stages: tuple[tuple[str, LatencySummary], ...]
    sink_failures: int
    sinks: tuple[tuple[str, SinkCounts], ...]
    score: Score | None


class Tally:
    """Counts frames and decisions, and compares these with the truth."""

    def __init__(self) -> None:
        self._labels: Counter[str] = Counter()
        self._kinds: Counter[str] = Counter()
        self._truth: str | None = None
        self._shown = self._right = self._wrong = self._undecided = self._nothing = 0
        self._first_s = self._last_s = 0.0
        self.frames = 0

    def frame(self, now_s: float, truth: str | None, *, own_item: bool) -> None:
        """A frame went through at `now_s`; with `own_item` it is an item of its own."""
        if self.frames == 0:
            self._first_s = now_s
        self._last_s = now_s
        self.frames += 1
        if truth is not None and (own_item or truth != self._truth):
            self._shown += 1
        self._truth = truth

    def decision(self, decision: Decision) -> None:
        """A decision fell."""
        self._kinds[decision.kind] += 1
        if decision.kind == "accepted" and decision.label is not None:
            self._labels[decision.label] += 1
        if decision.truth is None:
            self._nothing += 1
        elif decision.right is None:
            self._undecided += 1
        elif decision.right:
            self._right += 1
        else:
            self._wrong += 1

    def summary(
        self,
        seconds: float,
        counts: CaptureCounts,
        stages: dict[str, LatencySummary],
        sink_failures: int,
        sinks: Sequence[tuple[str, SinkCounts]] = (),
    ) -> RunSummary:
        """Everything counted so far."""
        took_s = self._last_s - self._first_s
        knows_truth = self._shown > 0
        return RunSummary(
            seconds=seconds,
            frames=self.frames,
            fps=(self.frames - 1) / took_s if took_s > 0 else 0.0,
            counts=counts,
            items=sum(self._kinds.values()),
            by_label=tuple(sorted(self._labels.items())),
            by_kind=tuple(sorted(self._kinds.items())),
            stages=tuple(stages.items()),
            sink_failures=sink_failures,
            sinks=tuple(sinks),
            score=Score(self._shown, self._right, self._wrong, self._undecided, self._nothing) if knows_truth else None,
        )


def print_summary(summary: RunSummary, console: Console) -> None:
    """The run as two small tables."""
    console.print(_facts(summary))
    if summary.stages:
        console.print(_stage_table(summary))


def _facts(summary: RunSummary) -> Table:
    table = Table(title="Summary", title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    counts = summary.counts
    table.add_row("frames", f"{summary.frames} in {summary.seconds:.1f} s, {summary.fps:.1f} a second")
    table.add_row("dropped", f"{counts.overwritten} overwritten by newer ones, {counts.too_old} too old")
    if counts.refused or counts.repeated:
        refused = ", ".join(f"{count} {reason}" for reason, count in counts.refused)
        table.add_row("unfit frames", f"refused: {refused or 'none'}; {counts.repeated} came again unchanged")
    if counts.reconnects:
        table.add_row("camera", f"opened again {counts.reconnects} times")
    undecided = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in summary.by_kind if kind != "accepted")
    labels = ", ".join(f"{label} {count}" for label, count in summary.by_label)
    table.add_row("decisions", f"{summary.items}: {labels or 'none accepted'}{'; ' + undecided if undecided else ''}")
    if (score := summary.score) is not None:
        answered = score.right + score.wrong
        share = f" ({score.right / answered:.1%} of the answers)" if answered else ""
        answers = f"{score.right} right{share}, {score.wrong} wrong"
        rest = f"{score.undecided} left undecided, {score.missed} missed"
        table.add_row("truth known", f"{score.shown} items: {answers}, {rest}")
        if score.nothing_there:
            table.add_row("", f"{score.nothing_there} decisions with no item of known class there")
    if summary.sink_failures:
        table.add_row("sinks", f"{summary.sink_failures} failures")
    for name, sink in summary.sinks:
        if name == TERMINAL and not sink.dropped and not sink.failures:
            continue  # it is where this is read
        error = f": {sink.last_error}" if sink.failing else ""
        table.add_row(name, f"{sink.sent} sent, {sink.dropped} dropped, {sink.failures} failures{error}")
    return table


def _stage_table(summary: RunSummary) -> Table:
    table = Table(title="Time a stage, ms", title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("", style="dim")
    for name in ("runs", "mean", "p50", "p95", "max"):
        table.add_column(name, justify="right")
    for name, stage in summary.stages:
        values = (stage.mean_ms, stage.p50_ms, stage.p95_ms, stage.max_ms)
        table.add_row(name, str(stage.count), *(f"{value:.2f}" for value in values))
    return table
