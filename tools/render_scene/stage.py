"""Renders one state of the scene and keeps it: a camera view, with an item at rest or empty.

In: a `State`. Out: linear RGB float32 [480, 640, 3], also kept as float16 in the cache folder, so that an interrupted
run goes on where it was. Called by the command line. Needs Blender.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tools.render_scene import blender, setting
from tools.render_scene.items import BUILDERS
from tools.render_scene.plan import HEIGHT, VIEWS, WIDTH, State
from tools.render_scene.variety import Look


def linear_picture(state: State, cache: Path, samples: int, seed: int, threads: int) -> NDArray[np.float32]:
    """The state's picture, from the cache where it is there, else rendered (half a minute or more) and kept."""
    path = cache / f"{state.key}.npz"
    if path.exists():
        return np.asarray(np.load(path)["linear"], np.float32)
    blender.new_scene(WIDTH, HEIGHT, samples, seed, threads)
    setting.build_setting(VIEWS[state.view])
    if state.item is not None:
        BUILDERS[state.item]()
    picture = blender.render()
    cache.mkdir(parents=True, exist_ok=True)
    partial = cache / f"{state.key}.partial.npz"
    np.savez_compressed(partial, linear=picture.astype(np.float16))
    partial.rename(path)
    return picture


def varied_picture(item: str, look: Look, size: tuple[int, int], samples: int, threads: int) -> NDArray[np.float32]:
    """An item as `look` has it, in linear RGB float32 of `size` (width, height)."""
    blender.new_scene(*size, samples, look.seed, threads)
    setting.build_setting(look.view, look.ground, look.lamps)
    blender.without_importance_map()
    pivot = BUILDERS[item]()
    pivot.rotation_euler[2] += np.radians(look.turn_degrees)
    pivot.location = (*look.place_cm, 0)
    return blender.render()
