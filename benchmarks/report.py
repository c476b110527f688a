"""What a scenario found, as Markdown for people and as JSON for later comparison."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, ValidationError

from benchmarks.conditions import Conditions, MachineState
from smartbin.bundle import describe_validation
from smartbin.errors import ConfigError
from smartbin.latency import LatencySummary, summarise

Cell: TypeAlias = str | int | float | None

LATENCY_COLUMNS = ("n", "warm-up", "p50 ms", "p95 ms", "p99 ms", "max ms")
"""What `Measurement.cells` fills."""
_DIGITS = 4  # of a sample in ms: a tenth of a microsecond


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one row was computed from, kept so that a later run can be held against it.

    `samples_ms` are durations in the order in which they were taken, `warm_up` how many went before them uncounted.
    `accuracy` is over photos of known class, `agreement` with the row's reference; None where neither applies.
    """

    name: str
    samples_ms: tuple[float, ...]
    warm_up: int
    accuracy: float | None = None
    agreement: float | None = None

    @classmethod
    def of(
        cls,
        name: str,
        samples_ms: list[float],
        warm_up: int,
        accuracy: float | None = None,
        agreement: float | None = None,
    ) -> Measurement:
        """From samples as they were taken; they are rounded to what a file should hold."""
        rounded = tuple(round(sample, _DIGITS) for sample in samples_ms)
        return cls(name, rounded, warm_up, accuracy, agreement)

    @property
    def latency(self) -> LatencySummary:
        """Percentiles of the samples; `ValueError` if there are none."""
        return summarise(self.samples_ms)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """A cell for each of `LATENCY_COLUMNS`; a row that nothing was timed for has none of the percentiles."""
        if not self.samples_ms:
            return (0, self.warm_up, None, None, None, None)
        found = self.latency
        return (found.count, self.warm_up, found.p50_ms, found.p95_ms, found.p99_ms, found.max_ms)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one scenario; `notes` say what the columns mean where that is not plain."""

    scenario: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = field(default=())
    measurements: tuple[Measurement, ...] = field(default=())

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {self.scenario} must have {len(self.columns)} cells, but got {len(row)}")
        names = [item.name for item in self.measurements]
        if len(set(names)) != len(names):
            raise ValueError(f"the measurements of {self.scenario} must have names of their own, but got {names}")

    def markdown(self) -> str:
        """The table with its notes; numbers to four digits, an absent value as a dash."""
        lines = [f"### {self.scenario}", "", _line(self.columns), _line(["---"] + ["---:"] * (len(self.columns) - 1))]
        lines += [_line([_cell(value) for value in row]) for row in self.rows]
        return "\n".join([*lines, "", *(f"- {note}" for note in self.notes)]) + "\n"


class Report(BaseModel):
    """All scenarios of one run. `yardstick_ms`: fixed pieces of work, timed before, between and after them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[2] = 2
    created_utc: str
    command: str
    conditions: Conditions
    state_before: MachineState
    state_after: MachineState
    yardstick_ms: dict[str, tuple[float, ...]]
    tables: tuple[Table, ...]

    def markdown(self) -> str:
        """Conditions first, then every table."""
        head = [f"`{self.command}`, {self.created_utc}", "", self.conditions.markdown()]
        states = [f"- before: {self.state_before}", f"- after: {self.state_after}", ""]
        return "\n".join([*head, *states, *(table.markdown() for table in self.tables)])


def read_report(path: Path) -> Report:
    """A report that was written as JSON; `ConfigError` if there is none, or one of another version."""
    try:
        return Report.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        found = error.strerror or str(error)
    except UnicodeDecodeError as error:
        found = str(error)
    except ValidationError as error:
        found = describe_validation(error)
    raise ConfigError(
        "this is no benchmark result that can be compared with",
        where=path,
        found=found,
        expected="a JSON file that this version of smartbin-bench wrote",
        fix="measure the baseline again",
    )


def _cell(value: Cell) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
    return str(value)


def _line(cells: tuple[str, ...] | list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
