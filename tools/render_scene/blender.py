"""The renderer's side: materials, objects, cameras and one Cycles render, through Blender's Python module.

In: `MeshData`, `Surface` and arrays, in centimetres. Out: Blender objects, and linear RGB float32 pictures. Called by
the item modules, `setting` and `stage`. The only module that talks to Cycles.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np
from numpy.typing import NDArray

from tools.render_scene.shapes import MeshData

RGB = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Surface:
    """What a surface is made of (Blender's Principled BSDF), with the unevenness that real things have.

    color: linear RGB, or a picture uint8 [H, W, 3 or 4] (a fourth channel is how metallic, 0..1).
    roughness: (smoothest, roughest), mixed by smudges of `smudge_cm`.  color_noise: mottling, in parts.
    bumps: (feature size cm, depth cm) pairs.  brushed: anisotropy of the highlight, 0..1.
    absorption: (linear RGB colour, per cm) of a clear body.  scatter: light spreading below the surface, in cm.
    clear: 0..1 seen through without refraction, for thin films.  back: colour of the other side.
    """

    color: RGB | NDArray[np.uint8] = (0.8, 0.8, 0.8)
    roughness: tuple[float, float] = (0.4, 0.5)
    smudge_cm: float = 2.0
    color_noise: float = 0.0
    metallic: float = 0.0
    transmission: float = 0.0
    ior: float = 1.5
    absorption: tuple[RGB, float] | None = None
    coat: float = 0.0
    bumps: Sequence[tuple[float, float]] = ()
    brushed: float = 0.0
    scatter: float = 0.0
    clear: float = 0.0
    back: RGB | None = None


def make_material(name: str, surface: Surface) -> bpy.types.Material:
    """Builds the node tree of a Surface."""
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    shader = nodes["Principled BSDF"]
    where = nodes.new("ShaderNodeTexCoord").outputs["Object"]

    def noise(size_cm: float, detail: float = 4.0) -> bpy.types.NodeSocket:
        node = nodes.new("ShaderNodeTexNoise")
        node.inputs["Scale"].default_value = 1 / size_cm
        node.inputs["Detail"].default_value = detail
        links.new(where, node.inputs["Vector"])
        return node.outputs["Fac"]

    def spread(source: bpy.types.NodeSocket, low: float, high: float) -> bpy.types.NodeSocket:
        node = nodes.new("ShaderNodeMapRange")
        node.inputs["From Min"].default_value, node.inputs["From Max"].default_value = 0.3, 0.7
        node.inputs["To Min"].default_value, node.inputs["To Max"].default_value = low, high
        links.new(source, node.inputs["Value"])
        return node.outputs["Result"]

    def mix(
        a: bpy.types.NodeSocket | RGB, b: bpy.types.NodeSocket | RGB, by: bpy.types.NodeSocket, kind: str
    ) -> bpy.types.NodeSocket:
        node = nodes.new("ShaderNodeMix")
        node.data_type, node.blend_type = "RGBA", kind
        links.new(by, node.inputs[0])
        for slot, value in ((6, a), (7, b)):
            if isinstance(value, tuple):
                node.inputs[slot].default_value = (*value, 1)
            else:
                links.new(value, node.inputs[slot])
        return node.outputs[2]

    color: bpy.types.NodeSocket | RGB
    if isinstance(surface.color, np.ndarray):
        texture = nodes.new("ShaderNodeTexImage")
        texture.image = make_image(name, surface.color)
        texture.interpolation = "Cubic"
        texture.extension = "EXTEND"
        color = texture.outputs["Color"]
        if surface.color.shape[2] == 4:
            links.new(texture.outputs["Alpha"], shader.inputs["Metallic"])
    else:
        color = surface.color
    if surface.color_noise:
        grey = nodes.new("ShaderNodeCombineColor")
        factor = spread(noise(surface.smudge_cm), 1 - surface.color_noise, 1.0)
        for channel in range(3):
            links.new(factor, grey.inputs[channel])
        node = nodes.new("ShaderNodeMix")
        node.data_type, node.blend_type = "RGBA", "MULTIPLY"
        node.inputs[0].default_value = 1.0
        if isinstance(color, tuple):
            node.inputs[6].default_value = (*color, 1)
        else:
            links.new(color, node.inputs[6])
        links.new(grey.outputs[0], node.inputs[7])
        color = node.outputs[2]
    if surface.back is not None:
        color = mix(color, surface.back, nodes.new("ShaderNodeNewGeometry").outputs["Backfacing"], "MIX")
    if isinstance(color, tuple):
        shader.inputs["Base Color"].default_value = (*color, 1)
    else:
        links.new(color, shader.inputs["Base Color"])
    links.new(spread(noise(surface.smudge_cm), *surface.roughness), shader.inputs["Roughness"])
    if not (isinstance(surface.color, np.ndarray) and surface.color.shape[2] == 4):
        shader.inputs["Metallic"].default_value = surface.metallic
    shader.inputs["Transmission Weight"].default_value = surface.transmission
    shader.inputs["IOR"].default_value = surface.ior
    shader.inputs["Coat Weight"].default_value = surface.coat
    shader.inputs["Coat Roughness"].default_value = 0.08
    shader.inputs["Anisotropic"].default_value = surface.brushed
    shader.inputs["Alpha"].default_value = 1 - surface.clear
    if surface.scatter:
        shader.inputs["Subsurface Weight"].default_value = 1.0
        shader.inputs["Subsurface Radius"].default_value = (1.0, 0.9, 0.8)
        shader.inputs["Subsurface Scale"].default_value = surface.scatter
    normal = None
    for size, depth in surface.bumps:
        bump = nodes.new("ShaderNodeBump")
        bump.inputs["Distance"].default_value = depth
        links.new(noise(size, 3.0), bump.inputs["Height"])
        if normal is not None:
            links.new(normal, bump.inputs["Normal"])
        normal = bump.outputs["Normal"]
    if normal is not None:
        links.new(normal, shader.inputs["Normal"])
    if surface.absorption is not None:
        volume = nodes.new("ShaderNodeVolumeAbsorption")
        volume.inputs["Color"].default_value = (*surface.absorption[0], 1)
        volume.inputs["Density"].default_value = surface.absorption[1]
        links.new(volume.outputs["Volume"], nodes["Material Output"].inputs["Volume"])
    return material


def make_image(name: str, picture: NDArray[np.uint8]) -> bpy.types.Image:
    """A Blender image from rows top to bottom; a fourth channel is kept apart from the colour."""
    height, width = picture.shape[:2]
    image = bpy.data.images.new(name, width, height, alpha=True)
    image.alpha_mode = "CHANNEL_PACKED"
    full = np.ones((height, width, 4), np.float32)
    full[..., : picture.shape[2]] = picture[::-1].astype(np.float32) / 255
    image.pixels.foreach_set(full.ravel())
    image.update()
    image.pack()
    return image


def make_object(
    name: str,
    mesh: MeshData,
    material: bpy.types.Material,
    *,
    parent: bpy.types.Object | None = None,
    smooth_degrees: float = 180.0,
    subdivide: int = 0,
) -> bpy.types.Object:
    """An object in the scene; edges sharper than smooth_degrees stay sharp, `subdivide` rounds the mesh that often."""
    data = bpy.data.meshes.new(name)
    data.from_pydata(mesh.vertices.tolist(), [], mesh.faces.tolist())
    layer = data.uv_layers.new(name="uv")
    layer.data.foreach_set("uv", mesh.uv.reshape(-1).astype(np.float32))
    data.materials.append(material)
    data.shade_smooth()
    if smooth_degrees < 180:
        data.set_sharp_from_angle(angle=float(np.radians(smooth_degrees)))
    thing = bpy.data.objects.new(name, data)
    bpy.context.scene.collection.objects.link(thing)
    if subdivide:
        modifier = thing.modifiers.new("round", "SUBSURF")
        modifier.levels = modifier.render_levels = subdivide
    thing.parent = parent
    return thing


def make_pivot(name: str, parent: bpy.types.Object | None = None) -> bpy.types.Object:
    """An empty object to hang parts on and to move."""
    pivot = bpy.data.objects.new(name, None)
    bpy.context.scene.collection.objects.link(pivot)
    pivot.parent = parent
    return pivot


def new_scene(width: int, height: int, samples: int, seed: int, threads: int) -> None:
    """Empties Blender and sets Cycles up: CPU, denoised, enough bounces for glass, caustics on but softened."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = width, height, 100
    scene.render.threads_mode, scene.render.threads = "FIXED", threads
    scene.render.image_settings.file_format, scene.render.image_settings.color_depth = "OPEN_EXR", "32"
    scene.render.image_settings.color_mode = "RGB"
    cycles = scene.cycles
    cycles.device, cycles.samples, cycles.seed = "CPU", samples, seed
    cycles.use_adaptive_sampling, cycles.adaptive_threshold = True, 0.03
    cycles.use_denoising, cycles.denoiser = True, "OPENIMAGEDENOISE"
    cycles.max_bounces, cycles.transmission_bounces, cycles.transparent_max_bounces = 14, 14, 12
    cycles.diffuse_bounces, cycles.glossy_bounces = 3, 5
    cycles.blur_glossy = 0.6
    cycles.sample_clamp_indirect = 8.0
    cycles.caustics_reflective = cycles.caustics_refractive = True


def without_importance_map() -> None:
    """Sample the room evenly: noisier, but the map takes five seconds a picture."""
    bpy.context.scene.world.cycles.sampling_method = "NONE"


def render() -> NDArray[np.float32]:
    """Renders the scene as it stands: linear RGB float32 [H, W, 3], row 0 at the top."""
    scene = bpy.context.scene
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.exr"
        scene.render.filepath = str(path)
        with _no_chatter():
            bpy.ops.render.render(write_still=True)
        image = bpy.data.images.load(str(path))
        width, height = image.size
        pixels = np.empty(width * height * image.channels, np.float32)
        image.pixels.foreach_get(pixels)
        bpy.data.images.remove(image)
    return pixels.reshape(height, width, -1)[::-1, :, :3].copy()


@contextmanager
def _no_chatter() -> Iterator[None]:
    """Blender writes a hundred lines a picture to the process's own output, past Python's."""
    kept = os.dup(1)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
