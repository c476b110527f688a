"""The story as data: which frames there are, in which order, from which rendered state, in what light. No renderer
here.

Out: `story()`, a list of `Shot`. Called by `story` (which makes the files) and the command line (which renders the
states).
"""

from __future__ import annotations

from dataclasses import dataclass

WIDTH, HEIGHT, FPS = 640, 480, 10


@dataclass(frozen=True, slots=True)
class Motion:
    """Where an item is in the picture against its resting place, and how far it moves while the shutter is open."""

    shift_px: tuple[float, float] = (0.0, 0.0)
    turn_degrees: float = 0.0
    blur_px: tuple[float, float] = (0.0, 0.0)


MOTIONS: dict[str, Motion] = {
    "in-1": Motion((-345, -18), 9.0, (70, 4)),
    "in-2": Motion((-78, -5), 2.0, (26, 2)),
    "out-1": Motion((190, 205), -6.0, (44, 48)),
}


@dataclass(frozen=True, slots=True)
class View:
    """A camera place: where it is, what it looks at (cm), and the lens (mm on a 36 mm wide sensor)."""

    eye: tuple[float, float, float]
    target: tuple[float, float, float]
    lens_mm: float


VIEWS: dict[str, View] = {
    "a": View((0.0, -27.0, 36.0), (0.0, 0.6, 0.6), 56.0),
    "b": View((20.0, -19.0, 38.0), (0.0, 0.0, 0.6), 66.0),
    "c": View((-8.0, -12.0, 45.0), (0.0, 0.0, 0.6), 62.0),
}


@dataclass(frozen=True, slots=True)
class Lamps:
    """How bright each lamp is (white = 1 would saturate a camera that looks into it), and the room behind the bin."""

    left: float = 44.0
    right: float = 23.0
    panel: float = 2.6
    room: float = 1.5
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class State:
    """One thing to render: a camera view with an item at rest in it, or with none."""

    view: str
    item: str | None

    @property
    def key(self) -> str:
        """File name of the rendered state, without its ending."""
        return f"{self.view}-{self.item or 'empty'}"


@dataclass(frozen=True, slots=True)
class Shot:
    """One frame: the state it shows, how the item moves (a key of MOTIONS, None at rest), phase and light."""

    state: State
    motion: str | None
    phase: str
    light: str
    light_scale: float


@dataclass(frozen=True, slots=True)
class Visit:
    """One item's visit: name, true class, light."""

    item: str
    label: str
    light_scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Chapter:
    """A camera view, the light of its first empty frames, and the visits in order."""

    view: str
    visits: tuple[Visit, ...]
    empty_first: int = 4


CHAPTERS = (
    Chapter(
        "a",
        (
            Visit("green-bottle-1", "glass"),
            Visit("soda-can-1", "metal"),
            Visit("carton-1", "cardboard"),
            Visit("paper-wad-1", "paper"),
            Visit("pet-bottle-1", "plastic"),
        ),
    ),
    Chapter(
        "b",
        (
            Visit("crushed-can-1", "metal"),
            Visit("torn-board-1", "cardboard"),
            Visit("newspaper-1", "paper"),
            Visit("jar-1", "glass"),
            Visit("crisp-bag-1", "trash"),
        ),
    ),
    Chapter(
        "c",
        (
            Visit("yoghurt-tub-1", "plastic", 1 / 4),
            Visit("soiled-napkin-1", "trash", 1 / 4),
            Visit("brown-bottle-1", "glass", 1 / 16),
            Visit("soup-tin-1", "metal", 1 / 16),
            Visit("carton-2", "cardboard", 1 / 40),
        ),
    ),
)

LABELS = {visit.item: visit.label for chapter in CHAPTERS for visit in chapter.visits}
STAYING, EMPTY_AFTER, FADE = 5, 2, 4


def light_name(scale: float) -> str:
    """good, dim or dark."""
    return "good" if scale > 0.5 else "dim" if scale > 0.1 else "dark"


def story() -> list[Shot]:
    """Every frame in order. Light changes happen over FADE empty frames, in equal stops."""
    shots: list[Shot] = []
    for chapter in CHAPTERS:
        empty = State(chapter.view, None)
        scale = 1.0
        shots += [Shot(empty, None, "empty", "good", 1.0)] * chapter.empty_first
        for visit in chapter.visits:
            for step in range(1, FADE + 1) if visit.light_scale != scale else ():
                between = scale * (visit.light_scale / scale) ** (step / FADE)
                shots.append(Shot(empty, None, "empty", light_name(between), between))
            scale = visit.light_scale
            item = State(chapter.view, visit.item)
            moves = [("in-1", "arriving"), ("in-2", "arriving"), *[(None, "staying")] * STAYING, ("out-1", "leaving")]
            shots += [Shot(item, motion, phase, light_name(scale), scale) for motion, phase in moves]
            shots += [Shot(empty, None, "empty", light_name(scale), scale)] * EMPTY_AFTER
    return shots


def states() -> list[State]:
    """The different states of the story, in its order."""
    return list(dict.fromkeys(shot.state for shot in story()))
