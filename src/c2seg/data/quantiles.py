"""Quantiles of bands from a bounded sample of pixels, and the monotone map to a standard normal that they give."""

from __future__ import annotations

import numpy as np

__all__ = ["PixelSample", "normal_knots", "to_normal"]

_SCORES = np.linspace(-3.0, 3.0, 256)  # evenly over the normal, not over its levels: tails keep as many as the middle
_PIXELS = 2**15  # the standard error of a level is at most 0.003


class PixelSample:
    """Keeps at most 2^16 valid pixels of a stream, each with the same chance wherever it lies; the same at every run."""

    def __init__(self, pixels: int = _PIXELS) -> None:
        self._limit = pixels
        self._below = 1.0
        self._rng = np.random.default_rng(0)
        self._keys = np.empty(0)
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, values: np.ndarray, weights: np.ndarray) -> None:
        """Look at values float32 [C, N] with whole weights [N]; weight 0 leaves a value out."""
        used = np.flatnonzero(weights)
        keys = self._rng.random(len(used))
        kept = keys < self._below
        self._keys = np.concatenate([self._keys, keys[kept]])
        self._parts.append((values[:, used[kept]], weights[used[kept]]))
        if len(self._keys) > 2 * self._limit:
            self._below = np.partition(self._keys, self._limit)[self._limit]
            kept = self._keys < self._below
            found, weights = self._together()
            self._parts = [(found[:, kept], weights[kept])]
            self._keys = self._keys[kept]

    def quantiles(self) -> np.ndarray:
        """Return float64 [C, 256]: the values below which the normal's share below -3 ... 3 of the pixels lies."""
        from scipy.special import ndtr

        values, weights = self._together()
        found = np.empty((len(values), len(_SCORES)))
        for row, band in zip(found, values, strict=True):
            order = np.argsort(band)
            share = weights[order] / weights.sum()
            row[:] = np.interp(ndtr(_SCORES), np.cumsum(share) - share / 2, band[order])
        return found

    def _together(self) -> tuple[np.ndarray, np.ndarray]:
        values, weights = zip(*self._parts, strict=True)
        return np.concatenate(values, axis=1), np.concatenate(weights)


def normal_knots(quantiles: np.ndarray) -> np.ndarray:
    """Return float64 [2, C, 256] from quantiles [C, 256]: values and the scores of a standard normal that they become.

    Equal quantiles get the score of the middle of their levels, so that a constant band becomes 0.
    """
    from scipy.special import ndtr, ndtri

    levels = ndtr(_SCORES)
    ends = [[np.searchsorted(row, row, side) for row in quantiles] for side in ("left", "right")]
    scores = ndtri((levels[np.array(ends[0])] + levels[np.array(ends[1]) - 1]) / 2)
    return np.stack([quantiles, scores])


def to_normal(values: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Return float32 [C, H, W]: each band of values [C, H, W] through its knots, linearly between, constant beyond."""
    out = np.empty(values.shape, np.float32)
    for changed, band, row, scores in zip(out, values, *knots, strict=True):
        changed[:] = np.interp(band.ravel(), row, scores).reshape(band.shape)
    return out
