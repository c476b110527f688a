"""A report as data: sections of text, tables, pictures and photos. `document_html` and `document_markdown` render it.

So a figure stands in one place in the code, and both files say the same. All text is plain: whatever it contains, such
as the name of a class or a file, the renderers escape it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias


def duration(seconds: float) -> str:
    """As reports say it: `8.4 s`, and from a minute on `12.5 min`."""
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.1f} min"


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph; `quiet` ones are remarks in smaller type."""

    text: str
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """Names with what they are, one a line."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows, whose first cell is their heading. `heat` colours the others, 0 to 1; `folded` tables open on demand."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    heat: tuple[tuple[float, ...], ...] = ()
    folded: bool = False

    def __post_init__(self) -> None:
        if wrong := [row for row in self.rows if len(row) != len(self.columns)]:
            raise ValueError(f"{self.caption}: {len(self.columns)} columns, but a row {wrong[0]}")


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawn figure: `name`.png for Markdown, SVG on light and on dark ground for HTML. `alt` says what it shows."""

    name: str
    alt: str
    caption: str
    png: bytes
    light_svg: bytes
    dark_svg: bytes

    def __post_init__(self) -> None:
        if not self.alt.strip():
            raise ValueError(f"the picture {self.name} has no alternative text")


@dataclass(frozen=True, slots=True)
class Photo:
    """A small photo as JPEG, and what is said of it."""

    jpeg: bytes
    alt: str
    caption: str


@dataclass(frozen=True, slots=True)
class Gallery:
    """Small photos; `name`.png shows them all, for Markdown."""

    name: str
    png: bytes
    photos: tuple[Photo, ...]


Block: TypeAlias = Text | Facts | Table | Picture | Gallery


def differing_columns(caption: str, columns: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> list[Block]:
    """The columns that are not the same all the way down as a table, the others as facts; the first column names rows.

    So a page has room for what tells rows apart.
    """
    same = [place for place in range(1, len(columns)) if len(rows) > 1 and len({row[place] for row in rows}) == 1]
    shown = [place for place in range(len(columns)) if place not in same]
    blocks: list[Block] = []
    if len(shown) > 1:
        cut = tuple(tuple(row[place] for place in shown) for row in rows)
        blocks.append(Table(caption, tuple(columns[place] for place in shown), cut))
    if same:
        blocks.append(Text(f"{caption}, the same for all of them:", quiet=True))
        blocks.append(Facts(tuple((columns[place], rows[0][place]) for place in same)))
    return blocks


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: tuple[Block, ...]

    @property
    def anchor(self) -> str:
        """The heading as the name of a link."""
        return "-".join("".join(letter if letter.isalnum() else " " for letter in self.title.lower()).split())


@dataclass(frozen=True, slots=True)
class Headline:
    """One of the figures that a reader looks for first, and a note on how sure it is."""

    label: str
    value: str
    note: str


@dataclass(frozen=True, slots=True)
class Document:
    """A whole report."""

    title: str
    summary: str
    headlines: tuple[Headline, ...]
    sections: tuple[Section, ...]
    footer: str = ""
    notes: tuple[str, ...] = field(default=())

    def pictures(self) -> list[Picture | Gallery]:
        """Everything that Markdown links to a file."""
        blocks = (block for section in self.sections for block in section.blocks)
        return [block for block in blocks if isinstance(block, (Picture, Gallery))]
