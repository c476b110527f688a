"""An audit as files: `audit.md`, `audit.html`, `audit.json`, `photos.csv` and pictures, written whole or not at all."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from smartbin.atomic import replace_folder, write_text_atomic
from smartbin.errors import ConfigError
from train.audit.looks import STATISTICS
from train.audit.measure import PhotoFacts
from train.audit.records import AUDIT_FILE, Audit
from train.audit.report_content import content_sections
from train.audit.report_faults import fault_sections
from train.audit.survey import Survey
from train.report.document import Document, Headline, duration
from train.report.document_html import to_html
from train.report.document_markdown import write_markdown

MARKDOWN_FILE, HTML_FILE, PHOTOS_FILE = "audit.md", "audit.html", "photos.csv"


def check_place(out: Path) -> None:
    """`ConfigError` if something else than an earlier audit would be overwritten at `out`."""
    if out.is_dir() and any(out.iterdir()) and not (out / AUDIT_FILE).is_file():
        raise ConfigError(
            "the folder for the audit holds something else",
            where=out,
            expected=f"a new or an empty folder, or an earlier audit ({AUDIT_FILE})",
            fix="another --out",
        )
    if out.exists() and not out.is_dir():
        raise ConfigError("the place for the audit is taken by a file", where=out, fix="another --out")


def write_audit(found: Survey, out: Path, shown: int) -> None:
    """Write the report into the folder `out`, in the place of an earlier one; galleries have at most `shown` photos."""
    document = _document(found, shown)
    with replace_folder(out) as folder:
        write_markdown(document, folder / MARKDOWN_FILE)
        write_text_atomic(folder / HTML_FILE, to_html(document))
        write_text_atomic(folder / AUDIT_FILE, found.audit.model_dump_json(indent=1) + "\n")
        write_text_atomic(folder / PHOTOS_FILE, photos_csv(found.facts))


def photos_csv(facts: tuple[PhotoFacts, ...]) -> str:
    """A line per readable photo: name, class, part, source, hash of the file, format, size, every statistic."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = ("name", "label", "part", "source", "sha256", "format", "width", "height")
    writer.writerow([*columns, *(statistic.name for statistic in STATISTICS)])
    for fact in facts:
        first = (fact.name, fact.label, fact.part, fact.source, fact.digest, fact.format, fact.width, fact.height)
        writer.writerow([*first, *(f"{value:.5g}" for value in fact.looks)])
    return text.getvalue()


def _document(found: Survey, shown: int) -> Document:
    audit = found.audit
    return Document(
        title=f"Audit of {audit.data}",
        summary=f"{audit.photos} photos of {len(audit.classes)} classes from {', '.join(audit.sources)}; "
        f"split {audit.split}. Every photo was opened once. All findings: {AUDIT_FILE}; every photo: {PHOTOS_FILE}.",
        headlines=_headlines(audit),
        sections=(*content_sections(found), *fault_sections(found, shown)),
        footer=f"Made in {duration(audit.seconds)} with {audit.software}.",
        notes=audit.notes,
    )


def _headlines(audit: Audit) -> tuple[Headline, ...]:
    copies = audit.copies
    lines = [
        Headline("Broken files", str(len(audit.broken)), "cannot be read"),
        Headline("Copies", str(copies.near_photos), f"{copies.exact_photos} of them the same file as another"),
        Headline("Leaks", str(len(copies.leaks)), "groups of copies in more than one part"),
        Headline("Contradictions", str(len(copies.conflicts)), "groups of copies with several labels"),
        Headline("Odd light", str(len(audit.outliers)), "dark, bright, blurred or uniform"),
    ]
    if audit.shortcuts:
        worst = max(audit.shortcuts, key=lambda entry: (entry.alarming, entry.skill))
        note = f"{worst.target} told from {worst.kind} alone, chance {worst.chance:.2f}"
        lines.append(Headline("Strongest short cut", f"{worst.balanced:.2f}", note))
    if audit.labels:
        lines.append(Headline("Likely wrong labels", str(len(audit.labels.suspects)), "to be looked at"))
    return tuple(lines)
