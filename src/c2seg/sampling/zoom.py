"""Patches at another scale: resampled once, from the source, and antialiased where they shrink."""

from __future__ import annotations

import numpy as np

from c2seg.data import Patch

__all__ = ["axis_weights", "nearest", "zoomed"]


def zoomed(patch: Patch, valid: np.ndarray, size: int) -> tuple[Patch, np.ndarray]:
    """Return float32 [C, size, size] by modality and valid bool [size, size] from square patches of any size.

    Images are interpolated bilinearly among valid pixels only. Where they shrink, the triangle of the interpolation is as much
    wider, so that what is finer than the new pixels is averaged and not skipped.

    Validity is that of the nearest pixel; invalid pixels are 0.
    Pixels are areas: the corners of the patches coincide, not the centers of the corner pixels.
    """
    new_valid = nearest(valid, size)
    if valid.all():
        return {name: _bilinear(values, size) for name, values in patch.items()}, new_valid
    weight = _bilinear(valid.astype(np.float32), size)
    factor = np.where(new_valid, 1.0 / np.where(new_valid, weight, 1.0), 0.0).astype(np.float32)
    return {name: _bilinear(values, size) * factor for name, values in patch.items()}, new_valid


def nearest(array: np.ndarray, size: int) -> np.ndarray:
    """Return [..., size, size], the nearest values of [..., H, W]."""
    height, width = array.shape[-2:]
    rows, cols = ((2 * np.arange(size) + 1) * side // (2 * size) for side in (height, width))
    return array[..., rows[:, None], cols]


def _bilinear(values: np.ndarray, size: int) -> np.ndarray:
    for axis in (-2, -1):
        side = values.shape[axis]
        if side > size:
            values = _shrunk(values, size, axis)
            continue
        low, high, part = _between(side, size)
        part = part[:, None] if axis == -2 else part
        values = np.take(values, low, axis) * (1 - part) + np.take(values, high, axis) * part
    return values


def axis_weights(side: int, size: int) -> np.ndarray:
    """Return float32 [size, side]: ``zoomed`` multiplies rows and columns of whole patches by it."""
    if side > size:
        return _falling(side, size)
    low, high, part = _between(side, size)
    weights = np.zeros((size, side), np.float32)
    weights[np.arange(size), low] = 1 - part
    weights[np.arange(size), high] += part
    return weights


def _between(side: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each new pixel the old ones around its center, int64, and the weight of the second, float32."""
    position = np.clip((np.arange(size) + 0.5) * side / size - 0.5, 0, side - 1)
    low = np.minimum(position.astype(np.int64), max(0, side - 2))
    return low, np.minimum(low + 1, side - 1), (position - low).astype(np.float32)


def _falling(side: int, size: int) -> np.ndarray:
    """Return float32 [size, side]: weights that fall linearly to 0 over one new pixel from the center of each."""
    centers = (np.arange(size) + 0.5) * side / size
    distance = np.abs(np.arange(side)[None, :] + 0.5 - centers[:, None]) * size / side
    weights = np.maximum(0.0, 1.0 - distance)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def _shrunk(values: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Return values with one axis shrunk."""
    weights = _falling(values.shape[axis], size)
    shrunk: np.ndarray = values @ weights.T if axis == -1 else weights @ values
    return shrunk
