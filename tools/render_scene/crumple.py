"""Crushes sheets: position-based dynamics of a grid of particles that hardly stretches and keeps the folds it gets.

In: a rectangle of paper, foil or film. Out: particle positions [rows, columns, 3] in centimetres. Called by `sheets`;
results are kept, since each item is built for several poses and crushing takes seconds. Callers must not change them.
Method: Mueller et al., "Position Based Dynamics" (2007): project edge lengths, repel particles that come close, push
into a shrinking ball.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Grid = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Crush:
    """How hard to crush: ball radii in cm at the start and end, steps, self-distance in cm, flattening (z scale of
    the ball), seed.
    """

    start_radius: float
    end_radius: float
    steps: int = 220
    thickness: float = 0.3
    squash: float = 0.8
    bend: float = 0.15
    relax_steps: int = 40
    seed: int = 0


@cache
def crush(width: float, height: float, columns: int, rows: int, how: Crush) -> Grid:
    """A flat sheet crushed into a ball, then let go and set down with its lowest point at z = 0."""
    rng = np.random.default_rng(how.seed)
    x, y = np.meshgrid(np.linspace(-width / 2, width / 2, columns), np.linspace(-height / 2, height / 2, rows))
    grid = np.stack([x, y, 0.05 * rng.normal(size=x.shape)], 2)
    grid[..., 2] += 0.6 * np.sin(x / width * 7 + 1) * np.cos(y / height * 5) + 0.3 * np.sin(x * 1.3 + y)
    step = np.array([width / (columns - 1), height / (rows - 1)])
    velocity = np.zeros_like(grid)
    shape = np.array([1, 1, how.squash])
    for number in range(how.steps + how.relax_steps):
        before = grid.copy()
        grid = grid + 0.85 * velocity
        crushing = number < how.steps
        if crushing:
            radius = how.start_radius + (how.end_radius - how.start_radius) * (number / how.steps) ** 0.7
            distance = np.linalg.norm(grid / shape, axis=2, keepdims=True)
            grid = np.where(distance > radius, grid * (radius / np.maximum(distance, 1e-9)), grid)
        for _ in range(6):
            _keep_lengths(grid, step, 1, 0.9)
            _keep_lengths(grid, step, 2, how.bend if crushing else how.bend * 0.5)
        if number % 2 == 0:
            _repel(grid, how.thickness, step)
        velocity = np.clip(grid - before, -0.15, 0.15)
    floor = np.percentile(grid[..., 2], 0.6)
    grid[..., 2] = np.maximum(grid[..., 2], floor) - floor
    return np.asarray(grid)


@cache
def inflate(width: float, height: float, columns: int, rows: int, pressure: float, steps: int, seed: int) -> Grid:
    """The upper half of a sealed bag, blown up: the rim stays at z = 0 and draws in, so real pillow wrinkles form."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.linspace(-width / 2, width / 2, columns), np.linspace(-height / 2, height / 2, rows))
    grid = np.stack([x, y, 0.15 * rng.random(x.shape)], 2)
    step = np.array([width / (columns - 1), height / (rows - 1)])
    velocity = np.zeros_like(grid)
    for _ in range(steps):
        before = grid.copy()
        grid = grid + 0.9 * velocity
        normal = np.cross(np.gradient(grid, axis=1), np.gradient(grid, axis=0))
        normal /= np.maximum(np.linalg.norm(normal, axis=2, keepdims=True), 1e-9)
        grid += pressure * normal
        for _ in range(8):
            _keep_lengths(grid, step, 1, 0.9)
            _keep_lengths(grid, step, 2, 0.03)
        for edge in (grid[0], grid[-1], grid[:, 0], grid[:, -1]):
            edge[:, 2] = 0.0
        velocity = np.clip(grid - before, -0.1, 0.1)
    return np.asarray(grid)


def _keep_lengths(grid: Grid, step: NDArray[np.float64], reach: int, stiffness: float) -> None:
    """Moves pairs `reach` apart along rows, columns and diagonals back to their rest length, in place.

    Pairs that share no particle are solved together (Gauss-Seidel by colour), which converges far faster than all at
    once. Pairs two apart only resist being folded: they are never pulled together.
    """
    rows, columns = grid.shape[:2]
    directions = [(0, reach), (reach, 0)] + ([(1, 1), (1, -1)] if reach == 1 else [])
    for dy, dx in directions:
        rest = float(np.hypot(dx * step[0], dy * step[1]))
        for colour in range(2):
            if dy == 0:
                index = np.arange(columns - dx)
                index = index[(index // dx) % 2 == colour]
                a, b = (slice(None), index), (slice(None), index + dx)
            else:
                index = np.arange(rows - dy)
                index = index[(index // dy) % 2 == colour]
                if dx == 0:
                    a, b = (index, slice(None)), (index + dy, slice(None))
                else:
                    left, right = slice(0, columns - 1), slice(1, columns)
                    a, b = (index, left if dx > 0 else right), (index + dy, right if dx > 0 else left)
            delta = grid[b] - grid[a]
            length = np.linalg.norm(delta, axis=2, keepdims=True)
            error = length - rest
            if reach > 1:
                error = np.minimum(error, 0)
            move = 0.5 * stiffness * error * delta / np.maximum(length, 1e-9)
            grid[a] += move
            grid[b] -= move


def _repel(grid: Grid, thickness: float, step: NDArray[np.float64]) -> None:
    """Pushes apart particles nearer than `thickness` that are not neighbours on the sheet, in place."""
    columns = grid.shape[1]
    flat = grid.reshape(-1, 3)
    pairs = cKDTree(flat).query_pairs(thickness, output_type="ndarray")
    if not len(pairs):
        return
    apart = np.maximum(
        np.abs(pairs[:, 0] // columns - pairs[:, 1] // columns) * step[1],
        np.abs(pairs[:, 0] % columns - pairs[:, 1] % columns) * step[0],
    )
    pairs = pairs[apart > 1.6 * thickness]
    delta = flat[pairs[:, 1]] - flat[pairs[:, 0]]
    length = np.linalg.norm(delta, axis=1, keepdims=True)
    push = 0.25 * (thickness - length) * delta / np.maximum(length, 1e-6)
    for side, sign in ((0, -1.0), (1, 1.0)):
        np.add.at(flat, pairs[:, side], sign * push)
    grid[:] = flat.reshape(grid.shape)
