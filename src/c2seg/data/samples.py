"""Samples of a scene's pixels, for checks that need not see all of them."""

from __future__ import annotations

import numpy as np

from c2seg.data.city import Scene, blocks
from c2seg.errors import C2SegError
from c2seg.types import Window

__all__ = ["sampled", "sampled_or_nothing"]

_WINDOWS, _SIDE_PX = 16, 256
_MOST_VALUES = 2**24


def sampled(scene: Scene, name: str) -> np.ndarray:
    """Return scaled values float32 [C, n] of valid pixels of up to 16 windows of a scene's modality, fewer of many bands."""
    windows = list(blocks(scene.grid.window, _SIDE_PX))
    most = max(1, min(_WINDOWS, _MOST_VALUES // (scene.modality(name).count * _SIDE_PX**2)))
    samples = []
    for index in np.unique(np.linspace(0, len(windows) - 1, most).astype(int)):
        window: Window = windows[index]
        values, valid = scene.read(name, window)
        samples.append(values[:, valid])
    return np.concatenate(samples, axis=1)


def sampled_or_nothing(scene: Scene, name: str) -> np.ndarray:
    """Return what ``sampled`` does, or float32 [0, 0] where the scene lacks the modality or it cannot be read."""
    if name not in scene.modalities:
        return np.empty((0, 0), np.float32)
    try:
        return sampled(scene, name)
    except C2SegError:  # told where all pixels are read
        return np.empty((0, 0), np.float32)
