"""Drawn figures as files: PNG for Markdown and TensorBoard, SVG on light and on dark ground for HTML.

SVG keeps text as text, and the same figures give the same bytes. Nothing but the colours differs between the themes, so
a figure is drawn once and its colours are exchanged.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import matplotlib as mpl
from cycler import cycler
from matplotlib.figure import Figure

from train.report.document import Picture

Draw: TypeAlias = Callable[[], Figure]


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of a figure, each used for one thing; the colour-blind can tell the series apart (after Okabe & Ito)."""

    ink: str
    ground: str
    grid: str
    series: tuple[str, ...]

    @property
    def colours(self) -> tuple[str, ...]:
        """All of them, in the same order in every theme."""
        return (self.ink, self.ground, self.grid, *self.series)


LIGHT = Theme("#1c2227", "#ffffff", "#d9dee2", ("#0072b2", "#d55e00", "#009e73", "#aa4499", "#7a5c00", "#6c757d"))
DARK = Theme("#e4e8eb", "#1c2125", "#3d464d", ("#56b4e9", "#ff9e4a", "#2fc99a", "#e09ad0", "#e8cf5e", "#b4bdc4"))
_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))


def picture(name: str, draw: Draw, *, alt: str, caption: str) -> Picture:
    """What `draw` draws as a block of a report. It must take its colours from the theme (`C0`, `C1`, …)."""
    with mpl.rc_context():
        _use(LIGHT)
        figure = draw()
        png, svg = io.BytesIO(), io.BytesIO()
        figure.savefig(png, format="png", dpi=110, metadata={"Software": None})
        figure.savefig(svg, format="svg", metadata=_NO_METADATA)
    light = svg.getvalue()
    return Picture(name, alt, caption, png=png.getvalue(), light_svg=light, dark_svg=_recoloured(light))


def _recoloured(svg: bytes) -> bytes:
    text = svg.decode("utf-8")
    for light, dark in zip(LIGHT.colours, DARK.colours, strict=True):
        text = text.replace(light, dark)
    return text.encode("utf-8")


def _use(theme: Theme) -> None:
    ink, ground, grid = theme.ink, theme.ground, theme.grid
    mpl.rc("figure", facecolor=ground)
    mpl.rc("savefig", facecolor=ground)
    mpl.rc("text", color=ink)
    mpl.rc("xtick", color=ink)
    mpl.rc("ytick", color=ink)
    mpl.rc("grid", color=grid)
    mpl.rc("font", family="sans-serif", size=9.5)
    mpl.rc("lines", markersize=5)
    # a fixed place: looking for the best one is slow
    mpl.rc("legend", facecolor=ground, edgecolor=grid, fontsize=8.5, loc="upper right")
    mpl.rc("axes", facecolor=ground, labelcolor=ink, edgecolor=ink, grid=True, axisbelow=True, titlesize=10)
    mpl.rc("axes", prop_cycle=cycler(color=theme.series))
    mpl.rc("axes.spines", top=False, right=False)
    mpl.rc("svg", fonttype="none", hashsalt="smartbin")
