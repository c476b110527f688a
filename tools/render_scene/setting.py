"""The bin's intake: a light tray with low walls under an LED strip and a soft panel, and the three cameras that look
into it.

In: a view name. Out: the Blender scene round an item. Called by `stage`. Centimetres; the floor is z = 0, the item
lies round the origin.
"""

from __future__ import annotations

import bpy
import cv2
import numpy as np
from mathutils import Vector

from tools.render_scene.blender import Surface, make_material, make_object
from tools.render_scene.paint import Array8, cloud
from tools.render_scene.plan import Lamps, View
from tools.render_scene.shapes import MeshData


def build_setting(view: View, floor: Array8 | None = None, lamps: Lamps | None = None) -> None:
    """Puts tray, lights and camera into the empty scene; `floor` is another picture for the tray, square."""
    _tray(_floor_paint() if floor is None else floor)
    _lights(lamps or Lamps())
    _camera(view)


def _floor_paint() -> Array8:
    """Off-white plastic that has seen use: faint stains, scuffs and a few scratches."""
    rng = np.random.default_rng(11)
    size = 1600
    shade = 0.006 * cloud(size, size, 1, 0.4) + 0.006 * cloud(size, size, 2, 0.03, 3)
    marks = np.zeros((size, size), np.float32)
    for _ in range(70):
        x, y, angle = rng.uniform(0, size), rng.uniform(0, size), rng.uniform(0, np.pi)
        length = rng.exponential(90)
        bend = rng.normal(0, 0.3)
        points = [(x, y)]
        for _ in range(12):
            x, y, angle = x + length / 12 * np.cos(angle), y + length / 12 * np.sin(angle), angle + bend / 12
            points.append((x, y))
        cv2.polylines(
            marks,
            [np.array(points, np.int32)],
            False,
            float(-rng.uniform(0.02, 0.09)),
            int(rng.integers(1, 3)),
            cv2.LINE_AA,
        )
    for _ in range(60):
        centre = (int(rng.uniform(0, size)), int(rng.uniform(0, size)))
        cv2.circle(marks, centre, int(rng.integers(1, 4)), float(-rng.uniform(0.05, 0.3)), -1, cv2.LINE_AA)
    stain = np.clip(cloud(size, size, 5, 0.3) - 1.3, 0, 1) * 0.03
    base = np.array([212, 210, 204], np.float32) * (1 + shade + marks - stain)[..., None]
    base[..., 2] *= 1 - 0.6 * stain
    return np.asarray(np.clip(base, 0, 255), np.uint8)


def _tray(floor: Array8) -> None:
    """A 36 x 28 cm pan: floor, rounded foot, sloping walls, lip, and the dark housing outside it."""
    material = make_material(
        "tray", Surface(color=floor, roughness=(0.38, 0.55), smudge_cm=4.0, bumps=((0.09, 0.004), (3.0, 0.01)))
    )
    half, middle = np.array([18.0, 14.0]), np.array([0.0, -2.0, 0.0])
    section = [
        (0.0, 0.0),
        (-1.6, 0.0),
        (-1.0, 0.06),
        (-0.5, 0.3),
        (-0.15, 0.75),
        (0.0, 1.4),
        (0.9, 6.2),
        (1.1, 6.5),
        (1.5, 6.6),
        (2.6, 6.6),
    ]
    corner = np.linspace(0, np.pi / 2, 9)
    ring = []
    for k, (sx, sy) in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1))):
        for angle in corner + k * np.pi / 2:
            ring.append((sx * (half[0] - 3), sy * (half[1] - 3), np.cos(angle), np.sin(angle)))
    base = np.array(ring)
    rows = [np.c_[base[:, :2] * 0.0, np.zeros(len(base))]]
    for out, height in section[1:]:
        rows.append(np.c_[base[:, :2] + base[:, 2:] * (3 + out), np.full(len(base), height)])
    vertices = np.vstack(rows)
    count = len(base)
    row, column = np.meshgrid(np.arange(len(rows) - 1), np.arange(count), indexing="ij")
    row, column, nxt = row.ravel(), column.ravel(), (column.ravel() + 1) % count
    faces = np.stack([row * count + column, (row + 1) * count + column, (row + 1) * count + nxt, row * count + nxt], 1)
    uv = vertices[faces][..., :2] / 46 + 0.5
    make_object("tray", MeshData(vertices + middle, faces, uv), material, smooth_degrees=50)
    housing = make_material("housing", Surface(color=(0.05, 0.055, 0.06), roughness=(0.4, 0.6), bumps=((0.1, 0.01),)))
    outer = [(-80, -80), (80, -80), (80, 80), (-80, 80)]
    inner = [(-20, -18), (20, -18), (20, 14), (-20, 14)]
    points = np.array([(x, y, 6.3) for x, y in outer + inner], float)
    quads = np.array([(k, (k + 1) % 4, 4 + (k + 1) % 4, 4 + k) for k in range(4)])
    make_object("housing", MeshData(points, quads, np.zeros((4, 4, 2))), housing)


def _area(
    name: str,
    place: tuple[float, float, float],
    size: tuple[float, float],
    radiance: float,
    color: tuple[float, float, float],
) -> None:
    """A rectangular lamp that shines at the tray with a radiance."""
    lamp = bpy.data.lights.new(name, "AREA")
    lamp.shape, lamp.size, lamp.size_y = "RECTANGLE", *size
    lamp.energy, lamp.color = radiance * np.pi * size[0] * size[1], color
    thing = bpy.data.objects.new(name, lamp)
    thing.location = place
    thing.rotation_euler = (Vector((0, 0, 0)) - Vector(place)).to_track_quat("-Z", "Y").to_euler()
    bpy.context.scene.collection.objects.link(thing)


def _lights(lamps: Lamps) -> None:
    """Two LED strips in the hood, a soft panel to one side, dim room light through the opening."""

    def tinted(red: float, green: float, blue: float) -> tuple[float, float, float]:
        return red * lamps.tint[0], green * lamps.tint[1], blue * lamps.tint[2]

    _area("strip-left", (-19, 10, 52), (5, 44), lamps.left, tinted(1.0, 0.965, 0.91))
    _area("strip-right", (21, 4, 54), (5, 40), lamps.right, tinted(1.0, 0.97, 0.93))
    _area("panel", (-34, -30, 62), (40, 40), lamps.panel, tinted(0.86, 0.93, 1.0))
    world = bpy.data.worlds.new("room")
    bpy.context.scene.world = world
    world.use_nodes = True
    nodes, links = world.node_tree.nodes, world.node_tree.links
    where = nodes.new("ShaderNodeTexCoord")
    blotches = nodes.new("ShaderNodeTexNoise")
    blotches.inputs["Scale"].default_value, blotches.inputs["Detail"].default_value = 2.2, 2.0
    ramp = nodes.new("ShaderNodeValToRGB")
    ramp.color_ramp.elements[0].position, ramp.color_ramp.elements[0].color = 0.42, (0.05, 0.055, 0.06, 1)
    ramp.color_ramp.elements[1].position, ramp.color_ramp.elements[1].color = 0.68, (0.75, 0.74, 0.72, 1)
    links.new(where.outputs["Generated"], blotches.inputs["Vector"])
    links.new(blotches.outputs["Fac"], ramp.inputs["Fac"])
    links.new(ramp.outputs["Color"], nodes["Background"].inputs["Color"])
    nodes["Background"].inputs["Strength"].default_value = lamps.room


def _camera(view: View) -> None:
    """The camera, focused on the item with a little depth of field."""
    data = bpy.data.cameras.new("camera")
    data.lens, data.sensor_width, data.clip_start, data.clip_end = view.lens_mm, 36.0, 1.0, 500.0
    eye, target = Vector(view.eye), Vector(view.target)
    data.dof.use_dof, data.dof.focus_distance = True, (target - eye).length - 2.0
    # Blender reads lengths as metres here: for centimetres the f-number is divided by 100. Like f/5.6.
    data.dof.aperture_fstop = 0.2
    thing = bpy.data.objects.new("camera", data)
    thing.location = eye
    thing.rotation_euler = (target - eye).to_track_quat("-Z", "Y").to_euler()
    bpy.context.scene.collection.objects.link(thing)
    bpy.context.scene.camera = thing
