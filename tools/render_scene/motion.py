"""Moves an item that was rendered at rest: sliding in, sliding out, blurred along its way, in linear light.

In: the linear picture of the item, that of the empty tray from the same camera, and a `Motion`. Out: a linear picture.
Called by the command line for arriving and leaving frames. numpy and OpenCV only.

The item with its shadow is what the tray's light is multiplied by (picture / empty). That ratio is shifted and turned,
averaged over the shutter's opening, and laid over the empty tray, so that the tray's own marks stay where they are. It
costs nothing beside a render, and under motion blur the missing change of perspective cannot be seen.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.render_scene.plan import Motion

Linear = NDArray[np.float32]


def moved(item: Linear, empty: Linear, motion: Motion, steps: int = 16) -> Linear:
    """The item on its way; float32 [H, W, 3], same shape as `item` and `empty`."""
    height, width = item.shape[:2]
    ratio = item / np.maximum(empty, 1e-4)
    # The item's faintest shadow reaches the border; let it end softly, or its cut edge would move through the picture.
    across = np.minimum(np.arange(width), np.arange(width)[::-1])
    down = np.minimum(np.arange(height), np.arange(height)[::-1])
    window = np.clip(np.minimum(across[None, :], down[:, None]) / 40, 0, 1).astype(np.float32)[..., None]
    ratio = 1 + (ratio - 1) * np.where(np.abs(ratio - 1).max(2, keepdims=True) > 0.25, 1, window)
    total = np.zeros_like(item)
    for share in np.linspace(-0.5, 0.5, steps):
        turn: NDArray[np.float64] = np.asarray(
            cv2.getRotationMatrix2D((width / 2, height / 2), motion.turn_degrees, 1.0), np.float64
        )
        turn[:, 2] += np.array(motion.shift_px) + share * np.array(motion.blur_px)
        total += cv2.warpAffine(
            ratio.astype(np.float32),
            turn,
            (width, height),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(1, 1, 1, 1),
        )
    return np.asarray(np.maximum(empty * (total / steps), 0), np.float32)
