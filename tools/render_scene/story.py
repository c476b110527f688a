"""Turns rendered states into the story's frames: sensor noise, light, JPEG files and `story.json`.

In: linear pictures by state. Out: `0000.jpg` ... and `story.json` in a folder, replacing what was there. Called by
the command line.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tools.render_scene.motion import moved
from tools.render_scene.plan import FPS, HEIGHT, LABELS, MOTIONS, WIDTH, Shot, State
from tools.render_scene.sensor import encode, expose


def write_story(
    shots: list[Shot],
    picture_of: Callable[[State], NDArray[np.float32]],
    out: Path,
    *,
    renderer: str,
    samples: int,
    seed: int,
) -> int:
    """Writes all frames and the story file; returns the bytes of all JPEGs.

    Each frame has its own noise, a lamp flicker of half a per cent, and, the darker the warmer, a small white-balance
    error.
    """
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("[0-9]*.jpg"):
        old.unlink()
    frames, total = [], 0
    flicker = np.random.default_rng(seed)
    for number, shot in enumerate(shots):
        light = shot.light_scale * float(1 + flicker.normal(0, 0.005))
        warmth = 0.015 + 0.012 * float(np.log2(1 / shot.light_scale))
        picture = picture_of(shot.state)
        if shot.motion is not None:
            picture = moved(picture, picture_of(State(shot.state.view, None)), MOTIONS[shot.motion])
        image = expose(picture, light=light, warmth=warmth, seed=seed * 100_003 + number)
        data = encode(image)
        (out / f"{number:04d}.jpg").write_bytes(data)
        total += len(data)
        frames.append(
            {
                "file": f"{number:04d}.jpg",
                "view": shot.state.view,
                "light": shot.light,
                "light_scale": round(shot.light_scale, 4),
                "phase": shot.phase,
                "item": shot.state.item,
                "label": LABELS.get(shot.state.item) if shot.state.item else None,
            }
        )
    head = {
        "schema": 1,
        "fps": FPS,
        "width": WIDTH,
        "height": HEIGHT,
        "renderer": renderer,
        "samples": samples,
        "seed": seed,
    }
    lines = ",\n".join("  " + json.dumps(frame) for frame in frames)
    (out / "story.json").write_text(json.dumps(head)[:-1] + ', "frames": [\n' + lines + "\n]}\n")
    return total
