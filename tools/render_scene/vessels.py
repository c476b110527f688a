"""Bottles, jar and tubs: glass and plastic things that were turned or blown.

In: nothing. Out: a Blender pivot, the item lying on the tray floor round the origin. Called through `items`.
"""

from __future__ import annotations

import bpy
import numpy as np

from tools.render_scene import art
from tools.render_scene.blender import Surface, make_material, make_object, make_pivot
from tools.render_scene.shapes import MeshData, Points, joined, lathe, ripples, rotate, rounded, trace


def _lay_down(mesh: MeshData, radius: float, roll: float, centre: float) -> MeshData:
    """Rolls a standing lathe shape by `roll` degrees and lays it along x, its axis `radius` above the floor."""

    def change(points: Points) -> Points:
        points = rotate(points - [0, 0, centre], "z", roll)
        points = rotate(points, "y", 90)
        return points + np.array([0, 0, radius])

    return mesh.moved(change)


def _label(radius: float, low: float, high: float, turn: tuple[float, float], bend: float = 0.0) -> MeshData:
    """A thin label round a standing bottle, facing out; `turn` is the part of the circle, `bend` its unevenness."""
    profile = np.array([(radius, z) for z in np.linspace(low, high, 12)])
    mesh = lathe(profile, 72, turn)
    if bend:
        mesh = mesh.moved(lambda p: p * (1 + bend * ripples(p, 5, 3.0)[:, None] * [1, 1, 0]))
    return mesh


def _bottle_wall(outer: list[tuple[float, float]], inner: list[tuple[float, float]], segments: int = 128) -> MeshData:
    return lathe(np.vstack([rounded(outer, 3), rounded(inner, 3)]), segments)


def _beer_bottle(
    name: str, color: tuple[float, float, float], density: float, label: art.Array8, roll: float, yaw: float
) -> bpy.types.Object:
    pivot = make_pivot(name)
    outer = trace(
        "0,0.5 1.9,0.45 2.3,0 2.75,0.0 3.05,0.35 3.05,1.0 3.05,6.0 3.05,12.4 2.95,13.8 2.2,15.6 "
        "1.55,17.4 1.38,19.0 1.32,20.6 1.5,20.7 1.5,21.4 1.32,21.5 1.34,22.4 1.3,22.7 1.1,22.75"
    )
    inner = trace(
        "0.92,22.65 0.92,21.0 0.98,19.0 1.15,17.3 1.8,15.5 2.55,13.7 2.68,12.3 2.7,6.0 2.7,1.2 2.4,0.7 0,0.95"
    )
    glass = make_material(
        "glass",
        Surface(
            color=(1, 1, 1),
            roughness=(0.0, 0.045),
            smudge_cm=1.6,
            transmission=1.0,
            ior=1.52,
            absorption=(color, density),
            bumps=((2.5, 0.006),),
        ),
    )
    lay = {"radius": 3.06, "roll": roll, "centre": 11.2}
    make_object("wall", _lay_down(_bottle_wall(outer, inner), **lay), glass, parent=pivot)
    paper = make_material(
        "label",
        Surface(color=label, roughness=(0.45, 0.6), bumps=((0.5, 0.006), (0.08, 0.002)), back=(0.55, 0.5, 0.42)),
    )
    make_object("label", _lay_down(_label(3.075, 3.4, 9.6, (0.0, 0.5), 0.0015), **lay), paper, parent=pivot)
    pivot.rotation_euler = (0, 0, np.radians(yaw))
    return pivot


def green_bottle() -> bpy.types.Object:
    """An empty green beer bottle with a paper label."""
    label = art.beer_label("Halmstad", "PALE LAGER", (30, 66, 44), (168, 122, 40), 3)
    return _beer_bottle("green-bottle", (0.10, 0.62, 0.22), 1.6, label, 95, 33)


def brown_bottle() -> bpy.types.Object:
    """An empty brown beer bottle with a paper label."""
    label = art.beer_label("Ravensby", "DARK ALE", (120, 30, 26), (60, 40, 30), 8)
    return _beer_bottle("brown-bottle", (0.56, 0.2, 0.02), 4.0, label, 92, -37)


def jar() -> bpy.types.Object:
    """A clear preserving jar without its lid, lying on its side."""
    pivot = make_pivot("jar")
    thread = [(3.0 + (0.16 if k % 2 else 0.0), 10.0 + 0.22 * k) for k in range(7)]
    outer = [
        (0, 0.45),
        (2.6, 0.35),
        (3.0, 0),
        (3.4, 0),
        (3.8, 0.45),
        (3.85, 1.2),
        (3.85, 8.0),
        (3.8, 8.8),
        (3.3, 9.7),
        *thread,
        (3.0, 11.6),
        (2.85, 11.7),
    ]
    inner = trace("2.6,11.6 2.6,10.0 2.95,9.3 3.45,8.5 3.5,8.0 3.5,1.3 3.1,0.8 0,0.85")
    glass = make_material(
        "glass",
        Surface(
            color=(1, 1, 1),
            roughness=(0.0, 0.05),
            smudge_cm=1.4,
            transmission=1.0,
            ior=1.52,
            absorption=((0.72, 0.9, 0.84), 0.22),
            bumps=((1.8, 0.012),),
        ),
    )
    lay = {"radius": 3.86, "roll": 112, "centre": 5.9}
    make_object("wall", _lay_down(_bottle_wall(outer, inner), **lay), glass, parent=pivot)
    paper = make_material(
        "label",
        Surface(
            color=art.beer_label("Plum Jam", "home made", (88, 30, 66), (40, 60, 40), 21),
            roughness=(0.5, 0.65),
            bumps=((0.4, 0.008),),
            back=(0.6, 0.56, 0.5),
        ),
    )
    make_object("label", _lay_down(_label(3.875, 3.2, 7.2, (0.06, 0.36), 0.0015), **lay), paper, parent=pivot)
    pivot.rotation_euler = (0, 0, np.radians(62))
    return pivot


def pet_bottle() -> bpy.types.Object:
    """A thin-walled water bottle, a little dented, with film label and blue cap."""
    pivot = make_pivot("pet-bottle")
    ribs: list[tuple[float, float]] = []
    for k in range(5):
        ribs += [(3.15, 2.6 + 0.9 * k), (3.15, 2.95 + 0.9 * k), (2.95, 3.15 + 0.9 * k), (2.95, 3.2 + 0.9 * k)]
    outer = [
        (0, 0.9),
        (0.9, 0.7),
        (1.8, 0.12),
        (2.3, 0.0),
        (2.85, 0.4),
        (3.12, 1.4),
        *ribs,
        (3.0, 7.3),
        (3.0, 11.4),
        (3.18, 11.7),
        (3.2, 12.4),
        (2.9, 14.2),
        (2.2, 16.0),
        (1.45, 17.2),
        (1.3, 17.6),
        (1.3, 17.9),
        (1.65, 17.95),
        (1.65, 18.15),
        (1.28, 18.2),
        (1.25, 19.6),
    ]
    profile = rounded(outer, 2)
    wall = lathe(profile, 160)
    hollow = MeshData(wall.vertices * [1, 1, 1], wall.faces[:, ::-1], wall.uv[:, ::-1])
    hollow = hollow.moved(
        lambda p: (
            p * (1 - 0.035 / np.maximum(np.linalg.norm(p[:, :2], axis=1, keepdims=True), 0.2) * [1, 1, 0]) + [0, 0, 0.0]
        )
    )

    def dent(p: Points) -> Points:
        angle = np.arctan2(p[:, 1], p[:, 0])
        foot = np.clip(1 - p[:, 2] / 1.6, 0, 1) * np.clip(np.linalg.norm(p[:, :2], axis=1) / 2.0, 0, 1)
        p[:, 2] += 0.42 * foot * (0.5 + 0.5 * np.cos(5 * angle))
        amount = 1 + 0.02 * ripples(p, 7, 4.0) * np.clip(p[:, 2] / 3, 0, 1) * np.clip((17 - p[:, 2]) / 3, 0, 1)
        push = np.exp(-(((p[:, 2] - 13.2) / 1.5) ** 2) - (np.angle(np.exp(1j * (angle - 2.4))) / 0.6) ** 2)
        amount -= 0.16 * push
        crease = np.exp(-(((p[:, 2] - 5.0 - 0.8 * np.sin(angle * 2)) / 0.5) ** 2)) * np.clip(np.cos(angle - 2.9), 0, 1)
        amount -= 0.07 * crease
        p[:, :2] *= amount[:, None]
        return p

    body = joined([wall, hollow]).moved(dent)
    lay = {"radius": 3.16, "roll": 150, "centre": 9.6}
    film = make_material(
        "pet",
        Surface(
            color=(1, 1, 1),
            roughness=(0.0, 0.06),
            smudge_cm=1.2,
            transmission=1.0,
            ior=1.48,
            bumps=((1.2, 0.012), (0.35, 0.002)),
        ),
    )
    make_object("wall", _lay_down(body, **lay), film, parent=pivot)
    sleeve = make_material(
        "sleeve",
        Surface(color=art.water_label(4), roughness=(0.2, 0.3), coat=0.3, bumps=((0.8, 0.02),), back=(0.75, 0.78, 0.8)),
    )
    band = _label(3.03, 7.45, 11.35, (0.0, 1.0)).moved(
        lambda p: p * (1 + 0.006 * ripples(p, 9, 2.0)[:, None] * [1, 1, 0])
    )
    make_object("sleeve", _lay_down(band.moved(dent), **lay), sleeve, parent=pivot)
    make_object(
        "cap",
        _lay_down(_screw_cap(1.5, 18.3, 1.45), **lay),
        make_material("cap", Surface(color=(0.03, 0.13, 0.42), roughness=(0.28, 0.4), scatter=0.05)),
        parent=pivot,
        smooth_degrees=40,
    )
    pivot.rotation_euler = (0, 0, np.radians(-32))
    return pivot


def _screw_cap(radius: float, low: float, height: float) -> MeshData:
    """A ribbed cap."""
    profile = rounded(
        [
            (radius, low),
            (radius, low + height * 0.8),
            (radius * 0.97, low + height),
            (radius * 0.8, low + height * 1.02),
            (0, low + height * 1.02),
        ],
        2,
    )

    def knurl(p: Points) -> Points:
        angle = np.arctan2(p[:, 1], p[:, 0])
        outside = (np.linalg.norm(p[:, :2], axis=1) > radius * 0.96) & (p[:, 2] > low + 0.2)
        p[:, :2] *= (1 + 0.018 * outside * np.sign(np.sin(48 * angle)))[:, None]
        return p

    return lathe(profile, 288).moved(knurl)


def yoghurt_tub() -> bpy.types.Object:
    """A white printed tub on its side, empty but for smears."""
    pivot = make_pivot("yoghurt-tub")
    outer = trace(
        "0,0.4 2.6,0.4 2.8,0.0 3.05,0.0 3.2,0.3 4.25,8.6 4.25,8.6 4.3,9.2 4.75,9.2 4.75,9.2 4.75,9.4 4.6,9.45"
    )
    inner = [(4.2, 9.4), (4.12, 8.6), (3.1, 0.7), (2.7, 0.55), (0, 0.55)]
    tilt = np.degrees(np.arctan2(4.75 - 3.05, 9.3))

    def lie(mesh: MeshData) -> MeshData:
        def change(p: Points) -> Points:
            p = p * (1 + 0.012 * ripples(p, 3, 7.0)[:, None] * [1, 1, 0])
            p = rotate(p - [0, 0, 5.0], "z", 110)
            p = rotate(p, "y", 90 + tilt)
            return p - [0, 0, p[:, 2].min()]

        return mesh.moved(change)

    white = make_material(
        "tub", Surface(color=(0.86, 0.86, 0.83), roughness=(0.3, 0.42), scatter=0.12, bumps=((3.0, 0.02),))
    )
    wall = joined([_bottle_wall(outer, inner), lathe(np.array([(3.35, 1.3), (4.2, 8.0)]) + np.array([0.02, 0]), 128)])
    lying = lie(wall)
    count = len(lying.faces) - 128
    make_object(
        "wall", MeshData(lying.vertices, lying.faces[:count], lying.uv[:count]), white, parent=pivot, smooth_degrees=50
    )
    sleeve = make_material(
        "print", Surface(color=art.tub_art(6), roughness=(0.25, 0.38), coat=0.2, bumps=((3.0, 0.02),))
    )
    make_object("print", MeshData(lying.vertices, lying.faces[count:], lying.uv[count:]), sleeve, parent=pivot)
    pivot.rotation_euler = (0, 0, np.radians(-40))
    return pivot
