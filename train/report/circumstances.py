"""What runs were made with beside their settings: precision, hardware, software, commit. It moves figures, too.

`compare` and `study` show it, and take two runs of the same settings for the same only where it is the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from train.checkpoint import TrainedRun
from train.report.document import Block, Text, differing_columns

UNKNOWN = "not recorded"
_CHANGED = "+"
_THREADS = re.compile(r", \d+ threads?$")


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Of one run."""

    precision: str
    """Such as `bf16-mixed`."""
    hardware: str
    """Name of the GPU, or of the CPU and how many threads were used."""
    software: str
    commit: str

    @classmethod
    def of(cls, run: TrainedRun) -> Circumstances:
        """As the run recorded them."""
        metrics = run.metrics
        return cls(metrics.precision, metrics.device, metrics.software or UNKNOWN, run.git_commit or UNKNOWN)

    @property
    def short_commit(self) -> str:
        """For a table; `+` where files were changed since."""
        if self.commit == UNKNOWN:
            return UNKNOWN
        return self.commit[:12] + (_CHANGED if self.commit.endswith(_CHANGED) else "")

    @property
    def kinds(self) -> dict[str, str]:
        """Those that move a run's figures, by name: the number of threads does not."""
        return {
            "precision": self.precision,
            "hardware": _THREADS.sub("", self.hardware),
            "software": self.software,
            "commit": self.commit,
        }


def differing_circumstances(circumstances: Sequence[Circumstances]) -> list[str]:
    """Names of those that are not the same in all of one or more runs."""
    first = circumstances[0].kinds
    return [name for name, value in first.items() if any(item.kinds[name] != value for item in circumstances)]


def unlike_circumstances(circumstances: Sequence[Circumstances]) -> list[str]:
    """The same, and the commit where it is not known which code ran: none recorded, or files changed since (`+`)."""
    differing = differing_circumstances(circumstances)
    unsure = any(item.commit == UNKNOWN or item.commit.endswith(_CHANGED) for item in circumstances)
    return [*differing, "commit"] if unsure and "commit" not in differing else differing


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def circumstances_blocks(named: Sequence[tuple[str, Circumstances]]) -> list[Block]:
    """A row a run, and what is the same in all of them once."""
    rows = tuple((name, item.precision, item.hardware, item.short_commit, item.software) for name, item in named)
    columns = ("run", "precision", "hardware", "commit", "software")
    return differing_columns("What they were made with", columns, rows)


def circumstances_line(circumstances: Sequence[Circumstances]) -> str:
    """Every value that occurs, once: for the foot of a page."""
    values = (
        ("", [item.hardware for item in circumstances]),
        ("precision ", [item.precision for item in circumstances]),
        ("", [item.software for item in circumstances]),
        ("commit ", [item.commit for item in circumstances]),
    )
    return "; ".join(f"{what}{' and '.join(dict.fromkeys(found))}" for what, found in values) + "."


def warning_of_differences(named: Sequence[tuple[str, Circumstances]]) -> list[Block]:
    """For runs that are to differ in their settings alone: which were made otherwise, in a sentence and a table."""
    differing = differing_circumstances([item for _, item in named])
    if not differing:
        return []
    told = f"Warning: these runs were not all made with the same {listed(differing)}. "
    only_times = differing == ["hardware"]
    told += "Their times cannot be compared." if only_times else "What differs between them is not of settings alone."
    return [Text(told), *circumstances_blocks(named)]
