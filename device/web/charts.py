"""The plot of decisions a day and class: SVG made here, drawn with the page's own colours, no script in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from html import escape

from device.store.records import DayCount

COLOURS = 8
"""How many classes have a colour of their own: `.series-0` to `.series-7` in page.css."""
WIDE, NARROW = 960, 360
"""Widths of a chart: its text is as large as the page's only if it is shown about as wide as it was made."""
_HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 280, 40, 6, 10, 28
_TICKS = 4
_A_LABEL = 90  # as wide is a date with its room
REJECTED = ("uncertain", "too_dark", "too_bright")


@dataclass(frozen=True, slots=True)
class Day:
    """The decisions of one day by what was said: a class, or one of `REJECTED`."""

    day: date
    counts: dict[str, int]

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.counts.values())


def days_of(counts: Sequence[DayCount], last: date, number: int) -> list[Day]:
    """The last `number` days up to `last`, those without a decision, too."""
    found: dict[date, dict[str, int]] = {last - timedelta(days=back): {} for back in reversed(range(number))}
    for count in counts:
        said = found.get(date.fromisoformat(count.day))
        if said is not None:
            name = count.label or "?" if count.decision == "accepted" else count.decision
            said[name] = said.get(name, 0) + count.count
    return [Day(day, said) for day, said in found.items()]


def series_of(days: Sequence[Day], classes: Sequence[str]) -> list[str]:
    """What is drawn: the model's classes, others that were said before, and what was not answered."""
    said = {name for day in days for name in day.counts}
    older = sorted(said - set(classes) - set(REJECTED))
    return [*classes, *older, *(name for name in REJECTED if name in said)]


def style_of(name: str, series: Sequence[str]) -> str:
    """The CSS class of a series."""
    if name in REJECTED:
        return f"series-{name}"
    return f"series-{series.index(name) % COLOURS}"


def day_chart(days: Sequence[Day], series: Sequence[str], whole: int = WIDE) -> str:
    """The days as stacked bars, an `<svg>` that fills its place; `whole` is the width that it is made for."""
    top = _round_up(max((day.total for day in days), default=0))
    width = (whole - _LEFT - _RIGHT) / max(1, len(days))
    parts = [_grid(top, whole)]
    for number, day in enumerate(days):
        x = _LEFT + number * width
        parts.append(_bar(day, series, x + 0.15 * width, 0.7 * width, top))
        if (len(days) - 1 - number) % math.ceil(len(days) * _A_LABEL / whole) == 0:
            parts.append(
                f'<text class="tick" x="{min(x + width / 2, whole - 24):.1f}" y="{_HEIGHT - 10}" text-anchor="middle">'
                f"{day.day.day} {day.day:%b}</text>"
            )
    total = sum(day.total for day in days)
    return (
        f'<svg class="chart" viewBox="0 0 {whole} {_HEIGHT}" role="img" '
        f'aria-label="{total} decisions in {len(days)} days; the table below has every figure">{"".join(parts)}</svg>'
    )


def _bar(day: Day, series: Sequence[str], x: float, width: float, top: int) -> str:
    scale = (_HEIGHT - _TOP - _BOTTOM) / top
    y, parts = float(_HEIGHT - _BOTTOM), []
    for name in series:
        count = day.counts.get(name, 0)
        if count:
            y -= count * scale
            parts.append(
                f'<rect class="{style_of(name, series)}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
                f'height="{count * scale:.1f}"><title>{day.day.isoformat()}: {escape(name.replace("_", " "))} {count}'
                "</title></rect>"
            )
    return "".join(parts)


def _grid(top: int, whole: int) -> str:
    lines = []
    for number in range(_TICKS + 1):
        value = top * number / _TICKS
        y = _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * number / _TICKS
        lines.append(f'<line class="grid" x1="{_LEFT}" x2="{whole - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    return "".join(lines)


def _round_up(value: int) -> int:
    """The next number that divides well by four: 4, 8, 12, 16, 20, 24, 32, 40, 80, 120, …"""
    if value <= _TICKS:
        return _TICKS
    size = int(10 ** math.floor(math.log10(value / _TICKS)))
    return next(_TICKS * step * size for step in (1, 2, 3, 4, 5, 6, 8, 10) if _TICKS * step * size >= value)
