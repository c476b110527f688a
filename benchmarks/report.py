"""What a scenario found, as Markdown for people and as JSON for later comparison."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from pydantic import BaseModel, ConfigDict

from benchmarks.conditions import Conditions

Cell: TypeAlias = str | int | float | None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one scenario; `notes` say what the columns mean where that is not plain."""

    scenario: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {self.scenario} must have {len(self.columns)} cells, but got {len(row)}")

    def markdown(self) -> str:
        """The table with its notes; numbers to three digits, an absent value as a dash."""
        lines = [f"### {self.scenario}", "", _line(self.columns), _line(["---"] + ["---:"] * (len(self.columns) - 1))]
        lines += [_line([_cell(value) for value in row]) for row in self.rows]
        return "\n".join([*lines, "", *(f"- {note}" for note in self.notes)]) + "\n"


class Report(BaseModel):
    """All scenarios of one run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = 1
    created_utc: str
    command: str
    conditions: Conditions
    tables: tuple[Table, ...]

    def markdown(self) -> str:
        """Conditions first, then every table."""
        return "\n".join(
            [f"`{self.command}`, {self.created_utc}", "", str(self.conditions), ""]
            + [table.markdown() for table in self.tables]
        )


def _cell(value: Cell) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
    return str(value)


def _line(cells: tuple[str, ...] | list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
