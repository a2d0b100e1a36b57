"""Quantiles of bands from a bounded sample of pixels, and the monotone transform to a standard normal."""

from __future__ import annotations

import numpy as np

__all__ = ["PixelSample", "normal_knots", "to_normal"]

_SCORES = np.linspace(-3.0, 3.0, 256)  # evenly spaced in the normal, not in its levels: tails get as many as the middle
_PIXELS = 2**15  # the standard error of a level is at most 0.003


class PixelSample:
    """A uniform random sample of at most 2^16 valid pixels of a stream. It is the same in every run."""

    def __init__(self, pixels: int = _PIXELS) -> None:
        self._limit = pixels
        self._below = 1.0
        self._rng = np.random.default_rng(0)
        self._keys = np.empty(0)
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, values: np.ndarray, weights: np.ndarray) -> None:
        """Add values float32 [C, N] with integer weights [N]. Values of weight 0 are ignored."""
        used = np.flatnonzero(weights)
        keys = self._rng.random(len(used))
        selected = keys < self._below
        self._keys = np.concatenate([self._keys, keys[selected]])
        self._parts.append((values[:, used[selected]], weights[used[selected]]))
        if len(self._keys) > 2 * self._limit:
            self._below = np.partition(self._keys, self._limit)[self._limit]
            selected = self._keys < self._below
            sample, weights = self._together()
            self._parts = [(sample[:, selected], weights[selected])]
            self._keys = self._keys[selected]

    def quantiles(self) -> np.ndarray:
        """Return the quantiles float64 [C, 256] at 256 levels: the normal distribution function of -3 ... 3."""
        from scipy.special import ndtr

        values, weights = self._together()
        quantiles = np.empty((len(values), len(_SCORES)))
        for row, band in zip(quantiles, values, strict=True):
            order = np.argsort(band)
            fractions = weights[order] / weights.sum()
            row[:] = np.interp(ndtr(_SCORES), np.cumsum(fractions) - fractions / 2, band[order])
        return quantiles

    def _together(self) -> tuple[np.ndarray, np.ndarray]:
        values, weights = zip(*self._parts, strict=True)
        return np.concatenate(values, axis=1), np.concatenate(weights)


def normal_knots(quantiles: np.ndarray) -> np.ndarray:
    """Return knots float64 [2, C, 256] from quantiles [C, 256]: values, and their scores in a standard normal.

    Equal quantiles get the score of their middle level, so a constant band becomes 0.
    """
    from scipy.special import ndtr, ndtri

    levels = ndtr(_SCORES)
    ends = [[np.searchsorted(row, row, side) for row in quantiles] for side in ("left", "right")]
    scores = ndtri((levels[np.array(ends[0])] + levels[np.array(ends[1]) - 1]) / 2)
    return np.stack([quantiles, scores])


def to_normal(values: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Transform values [C, H, W] to float32 [C, H, W] by the knots: linear between them, constant beyond."""
    out = np.empty(values.shape, np.float32)
    for scored, band, row, scores in zip(out, values, *knots, strict=True):
        scored[:] = np.interp(band.ravel(), row, scores).reshape(band.shape)
    return out
