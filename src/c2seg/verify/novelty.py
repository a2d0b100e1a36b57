"""How far pixels are from the pixels that a model was trained on, in the space of its normalized channels.

The dissimilarity index of Meyer and Pebesma (Methods in Ecology and Evolution, 2021): the distance to the nearest training
pixel over the mean distance of training pixels. Its threshold is what training pixels reach whose nearest neighbor lies
elsewhere in the sources; beyond it a model has seen nothing alike. Axes: N pixel, C channel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from c2seg.artifacts.seen import SeenPixels

__all__ = ["Novelty"]

_CHUNK = 65536
_THRESHOLD = 0.95
_RANGE = (0.005, 0.995)


@dataclass(frozen=True)
class Novelty:
    """The seen pixels float32 [M, C] in units of each channel's deviation, and the distance from which a pixel is new."""

    seen: np.ndarray
    deviation: np.ndarray
    threshold: float
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, seen: SeenPixels) -> Novelty:
        """Return the novelty against the pixels that a run folder keeps; a constant channel counts nothing."""
        values = seen.array()
        deviation = values.std(axis=0)
        deviation = np.where(deviation > 1e-6, deviation, np.inf).astype(np.float32)
        scaled = values / deviation
        distance = _distances(scaled, scaled)
        blocks = np.asarray(seen.blocks)
        elsewhere = np.where(blocks[:, None] == blocks[None], np.inf, distance).min(axis=1)
        finite = elsewhere[np.isfinite(elsewhere)]
        threshold = float(np.quantile(finite, _THRESHOLD)) if len(finite) else 1.0
        low, high = np.quantile(values, _RANGE, axis=0)
        return cls(scaled, deviation, max(threshold, 1e-6), low, high)

    def distance(self, values: np.ndarray) -> np.ndarray:
        """Return float32 [N]: the distance of channels [N, C] to the nearest seen pixel; above 1 a pixel is new."""
        nearest = np.empty(len(values), np.float32)
        for first in range(0, len(values), _CHUNK):
            part = values[first : first + _CHUNK] / self.deviation
            nearest[first : first + _CHUNK] = _distances(part, self.seen).min(axis=1)
        return nearest / np.float32(self.threshold)

    def outside(self, values: np.ndarray) -> np.ndarray:
        """Return float32 [N]: the share of channels beyond the range that 99 % of the seen pixels have."""
        shares: np.ndarray = ((values < self.low) | (values > self.high)).mean(axis=1, dtype=np.float32)
        return shares


def _distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return float32 [N, M]: root mean squared differences over the channels."""
    squares = (one * one).sum(axis=1)[:, None] + (other * other).sum(axis=1)[None] - 2 * (one @ other.T)
    root: np.ndarray = np.sqrt(np.maximum(squares, 0) / one.shape[1])
    return root
