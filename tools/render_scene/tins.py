"""Cans: a whole printed drinks can, a crushed one, and a food tin with a paper wrap.

In: nothing. Out: a Blender pivot, the item on the tray floor round the origin. Called through `items`.
"""

from __future__ import annotations

import bpy
import numpy as np

from tools.render_scene import art
from tools.render_scene.blender import Surface, make_material, make_object, make_pivot
from tools.render_scene.shapes import MeshData, Points, lathe, ripples, rotate, rounded, trace

ALUMINIUM = (0.80, 0.80, 0.81)


def _bare(name: str, rough: float = 0.24) -> bpy.types.Material:
    return make_material(
        name,
        Surface(
            color=ALUMINIUM,
            metallic=1.0,
            roughness=(rough, rough + 0.14),
            smudge_cm=0.8,
            brushed=0.5,
            bumps=((0.06, 0.0008), (1.5, 0.006)),
        ),
    )


def _drink_can_parts() -> dict[str, MeshData]:
    """Standing 330 ml can: printed wall, bare ends, tab. Heights 0..11.5 cm, radius 3.3."""
    wall = lathe(
        rounded(
            [
                (2.75, 0.55),
                (3.3, 1.15),
                (3.3, 1.15),
                (3.3, 1.5),
                *[(3.3, z) for z in np.linspace(1.8, 9.6, 90)],
                (3.3, 9.9),
                (3.3, 10.1),
                (2.72, 11.1),
            ],
            1,
        ),
        240,
    )
    base = lathe(rounded(trace("0,1.25 1.2,1.05 2.0,0.6 2.25,0.05 2.35,0.0 2.5,0.05 2.77,0.57"), 2), 160)
    # The wall's profile climbs on the outside; the base runs outwards and up, so it must be turned to face down.
    base = MeshData(base.vertices, base.faces, base.uv)
    lid = lathe(
        rounded(
            trace(
                "2.72,11.08 2.74,11.3 2.8,11.42 2.72,11.52 2.62,11.45 2.58,11.1 2.5,10.85 2.4,10.85 "
                "2.32,11.08 2.2,11.1 1.9,11.02 0,11.02"
            ),
            2,
        ),
        160,
    )
    return {"wall": wall, "base": base, "lid": lid, "tab": _tab()}


def _tab() -> MeshData:
    """The pull tab, a flat ring of sheet metal over the lid."""
    profile = rounded(trace("0.42,0.0 0.72,-0.02 0.8,0.04 0.72,0.1 0.42,0.08 0.36,0.04 0.42,0.0"), 2)
    ring = lathe(profile, 48)
    return ring.moved(lambda p: p * [1.55, 1.0, 1.0] + [0.55, 0.0, 11.12])


def _mouth() -> MeshData:
    """The opening, a dark disc just above the lid panel."""
    disc = lathe(np.array([(0.9, 0.0), (0.0, 0.001)]), 48)
    return disc.moved(lambda p: p * [1.0, 0.8, 1.0] + [-1.15, 0, 11.035])


def soda_can() -> bpy.types.Object:
    """A whole, opened cherry soda can lying on its side, its lid half towards the camera."""
    pivot = make_pivot("soda-can")
    print_ = make_material(
        "print", Surface(color=art.soda_can(2), roughness=(0.2, 0.32), smudge_cm=1.5, coat=0.25, bumps=((2.5, 0.008),))
    )
    bare = _bare("bare")
    dark = make_material("mouth", Surface(color=(0.01, 0.01, 0.01), roughness=(0.6, 0.7)))

    def lie(p: Points) -> Points:
        angle = np.arctan2(p[:, 1], p[:, 0])
        dent = np.exp(-(((p[:, 2] - 7.2) / 1.1) ** 2) - (np.angle(np.exp(1j * (angle - 1.9))) / 0.45) ** 2)
        p[:, :2] *= (1 - 0.05 * dent)[:, None]
        p = rotate(p - [0, 0, 5.7], "z", 70)
        return rotate(p, "y", 90) + np.array([0, 0, 3.3])

    parts = _drink_can_parts()
    make_object("wall", parts["wall"].moved(lie), print_, parent=pivot)
    for key in ("base", "lid", "tab"):
        make_object(key, parts[key].moved(lie), bare, parent=pivot)
    make_object("mouth", _mouth().moved(lie), dark, parent=pivot)
    pivot.rotation_euler = (0, 0, np.radians(-128))
    return pivot


def crushed_can() -> bpy.types.Object:
    """A can stamped in from one side: buckled in diamonds, bent in the middle."""
    pivot = make_pivot("crushed-can")
    print_ = make_material(
        "print",
        Surface(color=art.energy_can(5), roughness=(0.22, 0.36), smudge_cm=1.5, coat=0.2, bumps=((0.7, 0.012),)),
    )
    bare = _bare("bare", 0.28)
    dark = make_material("mouth", Surface(color=(0.01, 0.01, 0.01), roughness=(0.6, 0.7)))

    def ridge(t: Points) -> Points:
        return np.abs((t % 1.0) * 2 - 1)

    def squeeze(p: Points) -> Points:
        angle = np.arctan2(p[:, 1], p[:, 0])
        radius = np.linalg.norm(p[:, :2], axis=1)
        z = p[:, 2].copy()
        middle = np.exp(-(((z - 5.6) / 3.4) ** 4)) * np.clip((radius - 0.0) / 3.3, 0, 1)
        # Diamond buckling (Yoshimura): two families of helical creases. Noise makes each facet different.
        wobble = 0.16 * ripples(p, 4, 5.0)
        n, pitch = 4, 6.4
        a, b = (
            ridge(n * angle / (2 * np.pi) + z / pitch + wobble),
            ridge(n * angle / (2 * np.pi) - z / pitch + 0.5 * wobble),
        )
        fold = np.minimum(a, b) * 1.5 + 0.35 * np.maximum(a, b) - 0.75
        p[:, :2] *= (1 - middle * (0.16 - 0.21 * fold))[:, None]
        push = middle * np.exp(-(((z - 5.4) / 2.2) ** 2)) * np.clip(np.cos(angle - 0.9), 0, 1) ** 1.5
        p[:, :2] *= (1 - 0.40 * push)[:, None]
        # Sharp secondary wrinkles near the ends of the big fold.
        fine = (
            ridge(9 * angle / (2 * np.pi) + 0.6 * ripples(p, 8, 3.0))
            * np.exp(-(((z - 8.9) / 1.0) ** 2))
            * (radius > 2.9)
        )
        p[:, :2] *= (1 - 0.07 * fine)[:, None]
        lean = np.radians(34) * 1 / (1 + np.exp(-(z - 5.6) / 0.9))
        x, height = p[:, 0].copy(), z - 5.6
        p[:, 0] = x * np.cos(lean) + height * np.sin(lean) * 0.9
        p[:, 2] = 5.6 + (height * np.cos(lean) - x * np.sin(lean)) * np.where(np.abs(height) < 9, 0.74, 1)
        p = rotate(p - [0, 0, 5.6], "z", 150)
        p = rotate(p, "y", 90)
        return rotate(p, "x", 25)

    parts = {key: mesh.moved(squeeze) for key, mesh in (_drink_can_parts() | {"mouth": _mouth()}).items()}
    floor = min(float(mesh.vertices[:, 2].min()) for mesh in parts.values())
    for key, mesh in parts.items():
        material = {"wall": print_, "mouth": dark}.get(key, bare)
        make_object(
            key,
            mesh.moved(lambda p: p - [0, 0, floor]),
            material,
            parent=pivot,
            smooth_degrees=38 if key == "wall" else 180,
        )
    pivot.rotation_euler = (0, 0, np.radians(35))
    return pivot


def soup_tin() -> bpy.types.Object:
    """A food tin with a paper wrap, open, lying on its side; the ribs show through the paper."""
    pivot = make_pivot("soup-tin")
    steel = make_material(
        "steel",
        Surface(
            color=(0.66, 0.65, 0.63),
            metallic=1.0,
            roughness=(0.2, 0.36),
            smudge_cm=0.9,
            brushed=0.3,
            bumps=((0.08, 0.001),),
        ),
    )
    paper = make_material(
        "wrap", Surface(color=art.soup_label(7), roughness=(0.4, 0.55), bumps=((0.5, 0.006),), back=(0.6, 0.58, 0.5))
    )
    heights = np.linspace(0.5, 10.3, 160)
    rib = np.where((heights > 3.2) & (heights < 7.6), 0.05 * np.sin(2 * np.pi * heights / 0.62), 0.0)
    side = list(zip(3.65 + rib, heights, strict=True))
    outer = trace("0,0.35 3.3,0.35 3.5,0.0 3.72,0.05 3.74,0.3 3.65,0.45")
    rim = trace("3.65,10.4 3.76,10.5 3.76,10.75 3.64,10.82 3.55,10.7 3.58,10.4")
    inside = [(radius - 0.07, height) for radius, height in side[::-1]]
    wall = lathe(
        np.vstack([rounded(outer, 2), np.array(side), rounded(rim, 2), np.array(inside), [(3.3, 0.5), (0, 0.5)]]), 160
    )
    wrap = lathe(np.array([(radius + 0.03, height) for radius, height in side[4:-4]]), 160)

    def lie(p: Points) -> Points:
        p = rotate(p - [0, 0, 5.4], "z", 76)
        return rotate(p, "y", 90) + np.array([0, 0, 3.76])

    make_object("wall", wall.moved(lie), steel, parent=pivot)
    make_object("wrap", wrap.moved(lie), paper, parent=pivot)
    pivot.rotation_euler = (0, 0, np.radians(-150))
    return pivot
