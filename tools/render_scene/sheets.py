"""Things made of sheet: cartons and torn board, crumpled and flat paper, the snack bag, the soiled napkin with foil.

In: nothing. Out: a Blender pivot, the item on the tray floor round the origin. Called through `items`.
"""

from __future__ import annotations

import bpy
import cv2
import numpy as np
from numpy.typing import NDArray

from tools.render_scene import art
from tools.render_scene.blender import Surface, make_material, make_object, make_pivot
from tools.render_scene.crumple import Crush, crush, inflate
from tools.render_scene.paint import kraft
from tools.render_scene.shapes import MeshData, Points, facets, joined, ripples, rotate, sheet, trace

TAPE = Surface(
    color=(0.50, 0.34, 0.17),
    roughness=(0.12, 0.25),
    smudge_cm=1.0,
    coat=0.6,
    clear=0.35,
    bumps=((0.6, 0.012), (0.15, 0.003)),
)


def _board(picture: np.ndarray) -> bpy.types.Material:
    return make_material(
        "board",
        Surface(color=picture, roughness=(0.72, 0.85), bumps=((0.06, 0.003), (1.5, 0.02)), back=(0.33, 0.22, 0.12)),
    )


def _panel(
    origin: tuple[float, float, float],
    u: tuple[float, float, float],
    v: tuple[float, float, float],
    seed: int,
    bulge: float,
) -> MeshData:
    """A rectangle from `origin` along u and v, 40 x 40 cells, softly bulged and dented along its normal, edges kept."""
    flat = sheet(1, 1, 40, 40)
    s, t = flat.vertices[:, 0] + 0.5, flat.vertices[:, 1] + 0.5
    points = np.array(origin) + s[:, None] * np.array(u) + t[:, None] * np.array(v)
    normal = np.cross(u, v)
    normal = normal / np.linalg.norm(normal)
    inside = (16 * s * (1 - s) * t * (1 - t)) ** 0.5
    rounding = 0.07 * (
        np.exp(-np.minimum(np.minimum(s, 1 - s) * np.linalg.norm(u), np.minimum(t, 1 - t) * np.linalg.norm(v)) / 0.12)
    )
    height = inside * (bulge + min(0.1, bulge) * ripples(points, seed, 6.0)) - rounding
    return MeshData(points + height[:, None] * normal, flat.faces, flat.uv)


def _carton(name: str, size: tuple[float, float, float], yaw: float, seed: int) -> bpy.types.Object:
    """A closed shipping box: four sides, a two-flap top with a taped gap, worn corners."""
    pivot = make_pivot(name)
    w, d, h = size
    x, y = w / 2, d / 2
    sides = [
        ("front", (-x, -y, 0), (w, 0, 0), (0, 0, h)),
        ("side", (x, -y, 0), (0, d, 0), (0, 0, h)),
        ("plain", (x, y, 0), (-w, 0, 0), (0, 0, h)),
        ("side", (-x, y, 0), (0, -d, 0), (0, 0, h)),
    ]
    for k, (kind, origin, u, v) in enumerate(sides):
        pixels = (int(60 * np.linalg.norm(u)), int(60 * h))
        make_object(
            f"side{k}",
            _panel(origin, u, v, seed + k, 0.12),
            _board(art.box_side(*pixels, seed + k, kind)),
            parent=pivot,
        )
    lift = 0.22
    for k, sign in enumerate((-1, 1)):
        origin = (-x, -y, h) if sign < 0 else (-x, 0.07, h + lift)
        v = (0, y - 0.07, lift) if sign < 0 else (0, y - 0.07, -lift)
        picture = art.box_side(int(60 * w), int(60 * y), seed + 5 + k, "plain")
        flap = _panel(origin, (w, 0, 0), v, seed + 7 + k, 0.02)
        make_object(f"flap{k}", flap, _board(picture), parent=pivot)
    gap = make_material("gap", Surface(color=(0.05, 0.032, 0.018), roughness=(0.9, 0.9)))
    make_object(
        "gap", _panel((-x + 0.1, -0.3, h + lift - 0.12), (w - 0.2, 0, 0), (0, 0.6, 0), seed, 0), gap, parent=pivot
    )
    tape = make_material("tape", TAPE)
    strips = [
        _panel((-x + 0.05, -2.1, h + lift + 0.02), (w - 0.1, 0, 0), (0, 4.2, 0), seed + 20, 0.0),
        _panel((x + 0.2, -2.1, h - 3.2), (0, 4.2, 0), (0, 0, 3.2), seed + 21, 0.16),
        _panel((-x - 0.2, 2.1, h - 3.4), (0, -4.2, 0), (0, 0, 3.4), seed + 22, 0.16),
    ]
    strips[0] = strips[0].moved(
        lambda p: np.c_[p[:, :2], h + lift * (1 - np.abs(p[:, 1]) / y) + 0.1 + 0.02 * ripples(p, seed, 2.0)]
    )
    make_object("tape", joined(strips), tape, parent=pivot)
    pivot.rotation_euler = (0, 0, np.radians(yaw))
    return pivot


def carton() -> bpy.types.Object:
    """A small taped shipping carton."""
    return _carton("carton", (13.5, 9.5, 7.0), 27, 31)


def small_carton() -> bpy.types.Object:
    """A flatter carton, for the darkest part."""
    return _carton("small-carton", (12.0, 10.0, 4.5), -31, 61)


def torn_board() -> bpy.types.Object:
    """A torn piece of corrugated board: top liner partly peeled, so that the flutes show, with one soft fold."""
    pivot = make_pivot("torn-board")
    rng = np.random.default_rng(17)
    outline = np.array(
        trace("-8.2,-5.4 -2.5,-5.8 3.2,-5.2 8.4,-5.6 8.0,-0.6 8.8,3.4 5.2,5.9 0.6,5.1 -4.2,6.1 -8.6,4.6 -7.9,0.4")
    )

    def torn(points: Points, amount: float, seed: int) -> Points:
        jitter = np.random.default_rng(seed)
        dense = np.vstack(
            [np.linspace(a, b, 14, endpoint=False) for a, b in zip(points, np.roll(points, -1, 0), strict=True)]
        )
        return dense + amount * (
            jitter.normal(size=dense.shape) * 0.5 + np.sin(np.arange(len(dense)) * 0.9)[:, None] * 0.5
        )

    peel = torn(np.array([(2.6, 6.8), (3.4, 2.4), (5.6, 0.8), (9.8, 0.2), (10, 7)]), 0.22, 3)

    def inside(xy: Points, loop: Points) -> NDArray[np.bool_]:
        # Looked up in a drawing at 60 pixels a centimetre: testing each point against the polygon takes minutes.
        mask = np.zeros((1500, 1500), np.uint8)
        cv2.fillPoly(mask, [np.round(loop * 60 + 750).astype(np.int32)], 1)
        column, row = np.clip(np.round(xy * 60 + 750).astype(int), 0, 1499).T
        return mask[row, column] > 0

    def cut(mesh: MeshData, loop: Points, hole: Points | None) -> MeshData:
        centre = mesh.vertices[mesh.faces].mean(1)[:, :2]
        keep = inside(centre, loop)
        if hole is not None:
            keep &= ~inside(centre, hole)
        return MeshData(mesh.vertices, mesh.faces[keep], mesh.uv[keep])

    def bend(p: Points) -> Points:
        along = p[:, 0] * 0.95 + p[:, 1] * 0.31 + 2.2
        p[:, 2] += 0.45 * np.sqrt(along**2 + 0.12) - 0.12 + 0.09 * ripples(p * [1, 1, 0], 2, 7.0)
        corner = np.clip((p[:, 0] + p[:, 1] - 8.5) / 4, 0, 1)
        p[:, 2] += 1.2 * corner**2
        return p

    def make(z: float, wave: float, loop: Points, hole: Points | None, columns: int, rows: int) -> MeshData:
        mesh = cut(sheet(19, 14, columns, rows), loop, hole)
        return mesh.moved(
            lambda p: bend(p + np.c_[np.zeros((len(p), 2)), z + wave * np.sin(2 * np.pi * p[:, 0] / 0.62)])
        )

    front = art.box_side(1500, 1100, 41, "front")
    layers = {
        "bottom": (make(0.02, 0.0, torn(outline * 1.01, 0.08, 5), None, 380, 280), _board(kraft(900, 700, 6, 30))),
        "flutes": (make(0.2, 0.15, torn(outline * 0.995, 0.08, 6), None, 640, 160), _board(kraft(900, 700, 8))),
        "top": (make(0.38, 0.0, torn(outline, 0.09, 7), peel, 380, 280), _board(front)),
    }
    lowest = min(float(mesh.vertices[np.unique(mesh.faces)][:, 2].min()) for mesh, _ in layers.values())
    for key, (mesh, material) in layers.items():
        make_object(key, mesh.moved(lambda p: p - [0, 0, lowest - 0.01]), material, parent=pivot)
    pivot.rotation_euler = (0, 0, np.radians(-18 + rng.uniform(-1, 1)))
    return pivot


def _grid_mesh(grid: np.ndarray) -> MeshData:
    rows, columns = grid.shape[:2]
    flat = sheet(1, 1, columns, rows)
    return MeshData(grid.reshape(-1, 3), flat.faces, flat.uv)


def paper_wad() -> bpy.types.Object:
    """A typed page crushed into a loose ball."""
    pivot = make_pivot("paper-wad")
    grid = crush(21.0, 27.0, 64, 82, Crush(13.0, 5.2, seed=5, squash=0.66, thickness=0.45))
    paper = make_material(
        "paper", Surface(color=art.letter(9), roughness=(0.6, 0.75), bumps=((0.05, 0.002), (0.5, 0.01)), scatter=0.03)
    )
    make_object("wad", _grid_mesh(grid), paper, parent=pivot, subdivide=1)
    pivot.rotation_euler = (0, 0, np.radians(40))
    return pivot


def newspaper() -> bpy.types.Object:
    """A newspaper page, once folded in four, lying almost flat with a lifted corner."""
    pivot = make_pivot("newspaper")

    def settle(p: Points) -> Points:
        fold = 0.42 * np.exp(-np.abs(p[:, 0] - 0.6) / 1.1) + 0.5 * np.exp(-np.abs(p[:, 1] + 0.4) / 0.9)
        p[:, 2] = 0.04 + fold + 0.16 * (1 + ripples(p, 6, 6.0)) + 0.10 * (1 + facets(p, 3, 7, 5.0))
        corner = np.clip((p[:, 0] - p[:, 1] - 8.5) / 6, 0, 1)
        p[:, 2] += 2.3 * corner**2
        p[:, :2] *= (1 - 0.05 * corner**2)[:, None]
        return p

    top = sheet(16.6, 12.7, 200, 160).moved(settle)
    under = (
        sheet(16.6, 12.7, 120, 90)
        .moved(settle)
        .moved(lambda p: rotate(p, "z", -2.2) * [1, 1, 0.6] + [0.15, -0.18, 0.0])
    )
    paper = make_material(
        "newsprint",
        Surface(color=art.newspaper(12), roughness=(0.75, 0.88), bumps=((0.05, 0.003),), back=(0.56, 0.54, 0.48)),
    )
    make_object("page", top, paper, parent=pivot)
    make_object("under", under, paper, parent=pivot)
    pivot.rotation_euler = (0, 0, np.radians(52))
    return pivot


def crisp_bag() -> bpy.types.Object:
    """An opened, half collapsed snack bag of metallised film."""
    pivot = make_pivot("crisp-bag")
    grid = inflate(12.5, 16.0, 90, 116, 0.022, 150, 4)
    top = _grid_mesh(grid)

    def collapse(p: Points) -> Points:
        dent = np.exp(-((p[:, 0] - 1.4) ** 2 + (p[:, 1] + 1.5) ** 2) / 9.0) + 0.7 * np.exp(
            -((p[:, 0] + 2.6) ** 2 + (p[:, 1] - 2.6) ** 2) / 5.0
        )
        p[:, 2] *= 0.72 * (1 - 0.5 * dent)
        p[:, 2] += 0.16 * facets(p, 6, 9, 4.2) * np.clip(p[:, 2] / 0.8, 0, 1) + 0.10
        crimp = np.clip((np.abs(p[:, 1]) - np.abs(p[:, 1]).max() * 0.93) * 3, 0, 1)
        p[:, 2] += 0.05 * crimp * np.sin(p[:, 1] * 30) + 0.35 * (1 + ripples(p * [1, 0.2, 0], 9, 6.0)) * np.clip(
            (np.abs(p[:, 1]) - 5.2) / 2, 0, 1
        )
        return p

    film = make_material(
        "film",
        Surface(
            color=art.crisp_bag(14),
            roughness=(0.16, 0.3),
            smudge_cm=1.0,
            coat=0.35,
            bumps=((0.9, 0.03), (0.25, 0.004)),
            back=(0.62, 0.62, 0.64),
        ),
    )
    make_object("front", top.moved(collapse), film, parent=pivot, subdivide=1)
    lower = MeshData(top.vertices * [1, 1, 0.05], top.faces[:, ::-1], top.uv[:, ::-1])
    silver = make_material("silver", Surface(color=(0.62, 0.62, 0.64), metallic=0.9, roughness=(0.2, 0.35)))
    make_object("back", lower.moved(lambda p: p + np.array([0, 0, 0.02])), silver, parent=pivot)
    pivot.rotation_euler = (0, 0, np.radians(-38))
    return pivot


def soiled_napkin() -> bpy.types.Object:
    """A used napkin with food on it, crushed together with kitchen foil."""
    pivot = make_pivot("soiled-napkin")
    tissue = make_material(
        "tissue",
        Surface(
            color=art.soiled_napkin(18),
            roughness=(0.8, 0.95),
            bumps=((0.07, 0.006), (0.45, 0.03)),
            scatter=0.05,
            back=(0.78, 0.74, 0.68),
        ),
    )
    grid = crush(19.0, 19.0, 70, 70, Crush(11.0, 4.6, seed=11, squash=0.55, thickness=0.5, bend=0.06))
    make_object("tissue", _grid_mesh(grid - np.array([1.8, 0, 0])), tissue, parent=pivot, subdivide=1)
    foil = make_material(
        "foil",
        Surface(
            color=(0.78, 0.78, 0.78),
            metallic=1.0,
            roughness=(0.18, 0.34),
            smudge_cm=0.7,
            bumps=((0.6, 0.05), (0.2, 0.015)),
        ),
    )
    wad = crush(14.0, 12.0, 60, 52, Crush(8.0, 2.7, seed=23, squash=0.7, thickness=0.3, bend=0.2))
    make_object("foil", _grid_mesh(wad + np.array([3.5, -1.4, 0])), foil, parent=pivot, smooth_degrees=32)
    pivot.rotation_euler = (0, 0, np.radians(15))
    return pivot
