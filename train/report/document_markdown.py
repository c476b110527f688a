"""A `Document` as Markdown, with pictures as files beside it."""

from __future__ import annotations

import re
from pathlib import Path

from smartbin.atomic import write_bytes_atomic, write_text_atomic
from train.report.document import Block, Document, Facts, Gallery, Picture, Section, Table, Text

_SPECIAL = re.compile(r"([\\`*\[\]<>|])|(?<!\w)_|_(?!\w)")


def write_markdown(document: Document, file: Path) -> None:
    """Write `file` and, before it, the pictures that it links to."""
    for picture in document.pictures():
        write_bytes_atomic(file.parent / f"{picture.name}.png", picture.png)
    write_text_atomic(file, to_markdown(document))


def to_markdown(document: Document) -> str:
    """The text of the file."""
    parts = [f"# {escape(document.title)}", escape(document.summary)]
    if document.headlines:
        lines = [
            f"- **{escape(item.label)}: {escape(item.value)}** ({escape(item.note)})" for item in document.headlines
        ]
        parts.append("\n".join(lines))
    parts += [f"Note: {escape(note)}." for note in document.notes]
    parts += [_section(section) for section in document.sections]
    if document.footer:
        parts.append(escape(document.footer))
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Text in which nothing is Markdown or HTML, on one line."""
    return _SPECIAL.sub(lambda found: "\\" + found.group(0), " ".join(text.split()))


def _section(section: Section) -> str:
    return "\n\n".join([f"## {escape(section.title)}", *(_block(block) for block in section.blocks)])


def _block(block: Block) -> str:
    if isinstance(block, Text):
        return escape(block.text)
    if isinstance(block, Facts):
        return "\n".join(f"- {escape(name)}: {escape(fact)}" for name, fact in block.items)
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Picture):
        return f"![{escape(block.alt)}]({block.name}.png)\n\n{escape(block.caption)}"
    return _gallery(block)


def _table(table: Table) -> str:
    rule = "| --- |" + " ---: |" * (len(table.columns) - 1)
    rows = ["| " + " | ".join(escape(cell) for cell in row) + " |" for row in (table.columns, *table.rows)]
    return "\n".join([f"{escape(table.caption)}:\n", rows[0], rule, *rows[1:]])


def _gallery(gallery: Gallery) -> str:
    if not gallery.photos:
        return "None."
    alt = "; ".join(photo.alt for photo in gallery.photos)
    return f"![{escape(alt)}]({gallery.name}.png)"
