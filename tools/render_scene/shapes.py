"""Plain geometry: what an item's surface is made of, as arrays. No renderer here.

In: dimensions in centimetres. Out: `MeshData`. Called by the item modules; `blender` turns a MeshData into an object.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MeshData:
    """vertices [N, 3] cm; faces [M, 4] vertex indices, outward by the right-hand rule; uv [M, 4, 2], per face
    corner.
    """

    vertices: Points
    faces: NDArray[np.int64]
    uv: Points

    def moved(self, change: Callable[[Points], Points]) -> MeshData:
        """The same surface with its vertices replaced by change(vertices)."""
        return replace(self, vertices=change(self.vertices.copy()))


def trace(text: str) -> list[tuple[float, float]]:
    """Reads a profile or outline written compactly: "0,0.5 1.9,0.45" -> [(0.0, 0.5), (1.9, 0.45)]."""
    pairs = (pair.split(",") for pair in text.split())
    return [(float(first), float(second)) for first, second in pairs]


def rounded(profile: Sequence[tuple[float, float]], rounds: int = 2) -> Points:
    """Cuts the corners of an open polyline (Chaikin) and keeps its ends; repeat a point to keep a corner sharper."""
    line = np.array(profile, float)
    for _ in range(rounds):
        near, far = line[:-1] * 0.75 + line[1:] * 0.25, line[:-1] * 0.25 + line[1:] * 0.75
        line = np.vstack([line[:1], np.stack([near, far], 1).reshape(-1, 2), line[-1:]])
    keep = np.r_[True, np.linalg.norm(np.diff(line, axis=0), axis=1) > 1e-5]
    return np.asarray(line[keep])


def lathe(profile: Points, segments: int = 96, turn: tuple[float, float] = (0.0, 1.0)) -> MeshData:
    """Turns a profile of (radius, height) round the z axis; outward when the profile climbs on the outside.

    `turn` is the part of the circle covered, in turns. u runs round (0..1 over `turn`), v along the profile by length.
    """
    full = turn == (0.0, 1.0)
    columns = segments if full else segments + 1
    angle = 2 * np.pi * np.linspace(turn[0], turn[1], columns, endpoint=not full)
    ring = np.stack([np.cos(angle), np.sin(angle)], 1)
    vertices = np.concatenate(
        [
            profile[:, None, 0, None] * ring[None],
            np.broadcast_to(profile[:, None, 1, None], (len(profile), columns, 1)),
        ],
        axis=2,
    )
    length = np.r_[0, np.cumsum(np.linalg.norm(np.diff(profile, axis=0), axis=1))]
    faces, uv = _quads(len(profile), columns, wrap=full, v=length / length[-1])
    return MeshData(vertices.reshape(-1, 3), faces, uv)


def sheet(width: float, height: float, columns: int, rows: int) -> MeshData:
    """A flat rectangle in the xy plane round the origin, facing +z; uv covers it once."""
    x, y = np.meshgrid(np.linspace(-width / 2, width / 2, columns), np.linspace(-height / 2, height / 2, rows))
    vertices = np.stack([x, y, np.zeros_like(x)], 2).reshape(-1, 3)
    faces, uv = _quads(rows, columns, wrap=False, v=np.linspace(0, 1, rows))
    return MeshData(vertices, faces, uv)


def _quads(rows: int, columns: int, *, wrap: bool, v: Points) -> tuple[NDArray[np.int64], Points]:
    """Faces and corner uv of a grid of rows x columns vertices, joined end to start along the columns when `wrap`."""
    across = columns if wrap else columns - 1
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(across), indexing="ij")
    row, column = row.ravel(), column.ravel()
    nxt = (column + 1) % columns
    faces = np.stack(
        [row * columns + column, row * columns + nxt, (row + 1) * columns + nxt, (row + 1) * columns + column], 1
    )
    u0, u1 = column / across, (column + 1) / across
    uv = np.stack(
        [
            np.stack([u0, v[row]], 1),
            np.stack([u1, v[row]], 1),
            np.stack([u1, v[row + 1]], 1),
            np.stack([u0, v[row + 1]], 1),
        ],
        axis=1,
    )
    return faces.astype(np.int64), uv


def joined(parts: Sequence[MeshData]) -> MeshData:
    """Several surfaces as one."""
    starts = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    return MeshData(
        np.vstack([part.vertices for part in parts]),
        np.vstack([part.faces + start for part, start in zip(parts, starts, strict=True)]),
        np.vstack([part.uv for part in parts]),
    )


def rotate(points: Points, axis: str, degrees: float) -> Points:
    """Points turned round a coordinate axis through the origin."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    a, b = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    out = points.copy()
    out[:, a], out[:, b] = c * points[:, a] - s * points[:, b], s * points[:, a] + c * points[:, b]
    return out


def ripples(points: Points, seed: int, scale: float, terms: int = 10) -> Points:
    """Smooth noise, about -1..1, float [N]: a sum of plane waves of random direction with wavelength near `scale`
    cm.
    """
    rng = np.random.default_rng(seed)
    total = np.zeros(len(points))
    for _ in range(terms):
        direction = rng.normal(size=3)
        direction *= 2 * np.pi / (scale * rng.uniform(0.7, 1.6) * np.linalg.norm(direction))
        total += np.sin(points @ direction + rng.uniform(0, 2 * np.pi))
    return total / np.sqrt(terms / 2) / 1.6


def facets(points: Points, seed: int, count: int, size: float) -> Points:
    """Piecewise flat noise with sharp creases, about -1..1, float [N]: crumpled paper's own pattern, over the xy plane.

    A sum of lopsided triangle waves in `count` directions, each about `size` cm long, gives flat facets that meet in
    straight creases.
    """
    rng = np.random.default_rng(seed)
    total = np.zeros(len(points))
    xy = points[:, :2]
    for _ in range(count):
        normal = rng.normal(size=2)
        normal /= np.linalg.norm(normal)
        offset = rng.uniform(0, size)
        phase = ((xy @ normal + offset) / size) % 1.0
        at = rng.uniform(0.25, 0.75)
        total += np.where(phase < at, phase / at, (1 - phase) / (1 - at)) - 0.5
    return total / np.sqrt(count) * 2.2
