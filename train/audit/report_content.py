"""The report's first half: what the data set consists of, its light and colour, and what they give away."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from train.audit.looks import STATISTICS, Statistic
from train.audit.plots import draw_borders, draw_counts, draw_shapes, draw_shortcuts, draw_spreads
from train.audit.records import Audit, Shortcut, Spread
from train.audit.survey import Survey
from train.datasets.photos import PARTS
from train.report.document import Block, Section, Table, Text
from train.report.figure_files import picture

_SHOWN_SHAPES = 12


def content_sections(found: Survey) -> list[Section]:
    """What is there, how it looks, and whether looks give the class or the source away."""
    return [_content(found), _looks(found), *_shortcuts(found.audit)]


def _content(found: Survey) -> Section:
    audit = found.audit
    blocks: list[Block] = [
        picture(
            "counts",
            lambda: draw_counts(audit.counts, audit.classes),
            alt="Bars: photos per class and part",
            caption="Photos per class and part.",
        ),
        _counts_table(audit),
        _shapes_table(audit),
    ]
    if len({(shape.width, shape.height) for shape in audit.shapes}) > 1:
        widths = np.array([fact.width for fact in found.facts])
        heights = np.array([fact.height for fact in found.facts])
        caption = "Width and height of every photo."
        blocks.insert(2, picture("sizes", lambda: draw_shapes(widths, heights), alt=caption, caption=caption))
    return Section("What is there", tuple(blocks))


def _counts_table(audit: Audit) -> Table:
    rows = []
    for source in audit.sources:
        for label in audit.classes:
            by_part = {
                entry.part: entry.photos for entry in audit.counts if (entry.source, entry.label) == (source, label)
            }
            if by_part:
                name = label if len(audit.sources) == 1 else f"{label} ({source})"
                counts = tuple(str(by_part.get(part, 0)) for part in PARTS)
                rows.append((name, *counts, str(sum(by_part.values()))))
    return Table("Photos", ("class", *PARTS, "all"), tuple(rows))


def _shapes_table(audit: Audit) -> Table:
    rows = [
        (shape.format, f"{shape.width} x {shape.height}", f"{shape.width / shape.height:.2f}", str(shape.photos))
        for shape in audit.shapes[:_SHOWN_SHAPES]
    ]
    if rest := audit.shapes[_SHOWN_SHAPES:]:
        rows.append(("others", f"{len(rest)} kinds", "", str(sum(shape.photos for shape in rest))))
    return Table("Formats and sizes", ("format", "size", "aspect", "photos"), tuple(rows), folded=len(rows) > 4)


def _looks(found: Survey) -> Section:
    audit = found.audit
    labels = np.array([fact.label for fact in found.facts])
    blocks: list[Block] = [
        picture(
            "looks",
            lambda: draw_spreads(found.matrix, labels, audit.classes),
            alt="Boxes: luma, contrast, detail, saturation, red and blue cast per class",
            caption="Per class: half of the photos lie in the box, nine in ten between the whiskers.",
        ),
        picture(
            "borders",
            lambda: draw_borders(found.matrix, labels, audit.classes),
            alt="Points: colour cast of the border of each photo, a panel per class",
            caption="Colour of the outer twelfth of each photo, mostly background: a class's photos over all others. "
            "Where the clouds differ, the background gives the class away.",
        ),
        _spread_table(audit, "class"),
    ]
    if len(audit.sources) > 1:
        sources = np.array([fact.source for fact in found.facts])
        by_source = picture(
            "looks-sources",
            lambda: draw_spreads(found.matrix, sources, audit.sources),
            alt="Boxes: the same six statistics per source",
            caption="Per source.",
        )
        blocks += [by_source, _spread_table(audit, "source")]
    return Section("Light and colour", tuple(blocks))


def _spread_table(audit: Audit, by: str) -> Table:
    """Median and the range of nine in ten, a row a statistic."""
    chosen = [entry for entry in audit.spreads if entry.by in (by, "all")]
    groups = list(dict.fromkeys(entry.group for entry in chosen))
    rows = []
    for statistic in STATISTICS:
        cells = {entry.group: _spread_cell(entry, statistic) for entry in chosen if entry.statistic == statistic.name}
        rows.append((statistic.name, *(cells[group] for group in groups)))
    return Table(f"Median (5 to 95 %) per {by}; angles with their deviation", ("", *groups), tuple(rows), folded=True)


def _spread_cell(entry: Spread, statistic: Statistic) -> str:
    digits = statistic.digits
    if statistic.circular:
        return f"{entry.middle:.{digits}f} ± {entry.high - entry.middle:.{digits}f}"
    return f"{entry.middle:.{digits}f} ({entry.low:.{digits}f} to {entry.high:.{digits}f})"


def _shortcuts(audit: Audit) -> list[Section]:
    if not audit.shortcuts:
        return []
    text = (
        "A small classifier tells the class from numbers that describe the photo as a whole; it never sees the item. "
        "What it gets right beyond chance, a network can get right without looking at the item, and loses elsewhere. "
        "Colour is partly honest; the border, the light and the file are not. Of the file's numbers a network sees the "
        "traces only (such as those of a second JPEG compression)."
    )
    shown = picture(
        "shortcuts",
        lambda: draw_shortcuts(audit.shortcuts),
        alt="Bars: skill of each kind of statistics at telling the class",
        caption="Skill at telling the class (and the source, if there are several). Alarming ones in another colour.",
    )
    targets = list(dict.fromkeys(entry.target for entry in audit.shortcuts))
    tables = [_shortcut_table([entry for entry in audit.shortcuts if entry.target == target]) for target in targets]
    return [Section("Short cuts", (Text(text), shown, *tables))]


def _shortcut_table(entries: Sequence[Shortcut]) -> Table:
    names = list(entries[0].recalls)
    columns = (f"{entries[0].target} from", "accuracy", "mean recall", "skill", *(f"recall {name}" for name in names))
    rows = [
        (
            entry.kind,
            f"{entry.accuracy:.3f}",
            f"{entry.balanced:.3f}",
            f"{entry.skill:.2f}",
            *(f"{entry.recalls[name]:.2f}" for name in names),
        )
        for entry in entries
    ]
    caption = (
        f"Cross-validated, copies kept together. Always the most frequent {entries[0].target}: accuracy "
        f"{entries[0].most_frequent:.3f}; guessing: mean recall {entries[0].chance:.3f}"
    )
    return Table(caption, columns, tuple(rows))
