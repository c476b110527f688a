"""The bins of a fleet as a table for people and as records for programs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich import box
from rich.table import Table
from rich.text import Text

from device.fleet.rollout import Outcome
from device.fleet.roster import KnownBin, ToldState


def fleet_table(bins: Sequence[KnownBin], now: datetime) -> Table:
    """A line a bin. Colours only repeat what the words say."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("bin", "", "smartbin", "bundle", "runtime", "health", "items", "unsure", "last", "told"):
        table.add_column(name, overflow="fold", justify="right" if name in ("items", "unsure", "told") else "left")
    for known in bins:
        table.add_row(*_cells(known, now))
    return table


def bin_record(known: KnownBin, now: datetime) -> dict[str, object]:
    """What the bin has told, as it told it, with what the broker and this desk know."""
    age_s = known.age_s(now)
    return {
        "name": known.name,
        "online": known.online,
        "age_s": round(age_s, 1) if age_s is not None else None,
        **({"unreadable": known.unreadable} if known.unreadable else {}),
        "state": known.raw or None,
    }


def outcome_record(outcome: Outcome) -> dict[str, object]:
    """What became of one bin."""
    return {
        "name": outcome.name,
        "result": outcome.result,
        "detail": outcome.detail,
        "bundle": outcome.bundle or None,
        "took_s": outcome.took_s,
    }


def outcome_table(outcomes: Sequence[Outcome]) -> Table:
    """A line a bin."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("bin", "result", "bundle", "seconds", "what it says"):
        table.add_column(name, overflow="fold", justify="right" if name == "seconds" else "left")
    for outcome in outcomes:
        result = Text(outcome.result.replace("_", " "), style="green" if outcome.ok else "red")
        table.add_row(Text(outcome.name), result, Text(outcome.bundle), f"{outcome.took_s:.1f}", Text(outcome.detail))
    return table


def duration(seconds: float | None) -> str:
    """A time span in one unit, as short as can be."""
    if seconds is None:
        return "–"
    sign, seconds = ("-", -seconds) if seconds < -1 else ("", max(0.0, seconds))
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{sign}{seconds / length:.0f} {unit}"
    return f"{sign}{seconds:.0f} s"


def _cells(known: KnownBin, now: datetime) -> tuple[str | Text, ...]:
    here = Text("online", style="green") if known.online else Text("offline", style="red")
    state, told = known.state, Text(duration(known.age_s(now)))
    if state is None:
        said = "state unreadable" if known.unreadable else "no state"
        return (Text(known.name), here, "", "", "", Text(said, style="red"), "", "", "", told)
    counts = state.counts
    unsure = f"{counts.uncertain / counts.decisions:.0%}" if counts.decisions else ""
    return (
        Text(known.name),
        here,
        Text(state.version),
        Text(_bundle(state)),
        Text(state.runtime),
        _health(state),
        str(counts.decisions),
        unsure,
        Text(_last(state, now)),
        told,
    )


def _bundle(state: ToldState) -> str:
    runs = str(state.bundle) if state.bundle is not None and state.bundle.name else state.model
    return f"{runs}, next {state.next_bundle}" if state.next_bundle is not None else runs


def _health(state: ToldState) -> Text:
    words = [state.state or "unknown"]
    if state.uptime_s is not None:
        words.append(f"for {duration(state.uptime_s)}")
    if state.health.troubles:
        return Text("; ".join([" ".join(words), *state.health.troubles]), style="red")
    return Text(" ".join(words))


def _last(state: ToldState, now: datetime) -> str:
    last = state.last
    if last.time is None:
        return "–"
    said = last.label if last.decision == "accepted" else (last.decision or "").replace("_", " ")
    return f"{said}, {duration((now - last.time).total_seconds())} ago"
