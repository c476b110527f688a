"""The files of a run: JSON with every sample, a Markdown table, plots; and the last line on stdout."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

from benchmarks.plots import draw_pictures
from benchmarks.report import Report, Table
from smartbin.atomic import write_bytes_atomic, write_text_atomic

RESULTS = Path("benchmarks/results")
"""Below the folder that it is started in: in a checkout, git ignores it."""


def default_path(report: Report) -> Path:
    """A name with the conditions: scenarios, machine, time, commit."""
    scenarios = "+".join(table.scenario for table in report.tables)
    when = dt.datetime.strptime(report.created_utc, "%Y-%m-%dT%H:%M:%SZ").strftime("%Y%m%dT%H%M%SZ")  # noqa: DTZ007
    conditions = report.conditions
    commit = (conditions.commit or "installed") + ("-dirty" if conditions.dirty else "")
    return RESULTS / f"{scenarios}_{conditions.name}_{when}_{commit}.json"


def write_results(path: Path, report: Report, verdicts: Table | None) -> None:
    """Write `path` and, beside it under the same name, the Markdown and its plots. Folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomic(path, report.model_dump_json(indent=1) + "\n")
    text = report.markdown() + (f"\n{verdicts.markdown()}" if verdicts else "")
    for picture in draw_pictures(report.tables):
        file = path.with_name(f"{path.stem}.{picture.name}.png")
        write_bytes_atomic(file, picture.png)
        text += f"\n![{picture.alt}]({file.name})\n"
    write_text_atomic(path.with_suffix(".md"), text)


def lowest_agreement(tables: Sequence[Table]) -> float | None:
    """Of all rows that have a reference; None where none has."""
    found = [item.agreement for table in tables for item in table.measurements if item.agreement is not None]
    return min(found, default=None)


def result_line(report: Report, path: Path, verdicts: Table | None, *, min_agreement: float) -> tuple[str, bool]:
    """The line `RESULT ok …` or `RESULT FAILED …` for scripts, and whether the agreement is what it must be."""
    lowest = lowest_agreement(report.tables)
    passed = lowest is None or lowest >= min_agreement
    words = ["RESULT", "ok" if passed else "FAILED"]
    words.append(f"scenarios={','.join(table.scenario for table in report.tables)}")
    words.append(f"rows={sum(len(table.rows) for table in report.tables)}")
    if lowest is not None:
        words.append(f"lowest_agreement={lowest:.4f}")
        words += [] if passed else [f"min_agreement={min_agreement:g}"]
    if verdicts is not None:
        findings = [row[-1] for row in verdicts.rows]
        words += [f"{name}={findings.count(name)}" for name in ("faster", "slower")]
    return " ".join([*words, f"json={path}"]), passed
