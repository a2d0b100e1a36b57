"""Speckle filters of radar images in linear power. Pixels that are NaN count for nothing and stay NaN."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.ndimage import median_filter, uniform_filter

__all__ = ["Filter", "filter_speckle", "lee", "median"]

Filter = Literal["none", "lee", "median"]


def filter_speckle(power: np.ndarray, kind: Filter, size: int, looks: float) -> np.ndarray:
    """Return filtered power [H, W], float32, of an image with ``looks`` equivalent looks; ``size`` is odd, in pixels.

    Pixels nearer than ``size // 2`` to the array's edge see fewer pixels.
    """
    if kind == "none":
        return power
    return lee(power, size, looks) if kind == "lee" else median(power, size)


def lee(power: np.ndarray, size: int, looks: float) -> np.ndarray:
    """Return power filtered by Lee (Digital image enhancement and noise filtering by use of local statistics, 1980).

    result = mean + w (value - mean), w = 1 - (mean^2 / looks) / variance, between 0 and 1; mean and variance are those of the
    valid pixels in a square of ``size`` pixels.
    """
    valid = np.isfinite(power)
    values = np.where(valid, power, 0).astype(np.float64)
    count = np.maximum(_sums(valid.astype(np.float64), size), 1e-9)
    mean = _sums(values, size) / count
    variance = np.maximum(_sums(values * values, size) / count - mean * mean, 0)
    noise = mean * mean / looks
    weight = np.where(variance > noise, 1 - noise / np.maximum(variance, 1e-300), 0)
    result: np.ndarray = np.where(valid, mean + weight * (values - mean), np.nan).astype(np.float32)
    return result


def median(power: np.ndarray, size: int) -> np.ndarray:
    """Return the median of the valid pixels in a square of ``size`` pixels."""
    valid = np.isfinite(power)
    result: np.ndarray = median_filter(np.where(valid, power, 0).astype(np.float32), size, mode="nearest")
    whole = _sums(valid.astype(np.float64), size) > size * size - 0.5
    partial = valid & ~whole
    if partial.any():
        padded = np.pad(power, size // 2, constant_values=np.nan)
        around = np.lib.stride_tricks.sliding_window_view(padded, (size, size))
        rows, cols = np.nonzero(partial)
        result[rows, cols] = np.nanmedian(around[rows, cols].reshape(len(rows), -1), axis=1)
    result[~valid] = np.nan
    return result


def _sums(values: np.ndarray, size: int) -> np.ndarray:
    """Return sums over squares; outside the array is 0."""
    sums: np.ndarray = uniform_filter(values, size, mode="constant") * (size * size)
    return sums
