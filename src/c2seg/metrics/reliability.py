"""How often a class is right, by the probability that the model gave it: counts in bins, and the calibration they imply."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

__all__ = ["Reliability"]

_BINS = 20
_PRIOR_PX = 2.0  # pixels that say of a bin what its middle says


@dataclass
class Reliability:
    """Pixels and right ones by bin of the probability of the decided class, 20 bins of equal width over 0..1."""

    pixels: np.ndarray = field(default_factory=lambda: np.zeros(_BINS, np.int64))
    right: np.ndarray = field(default_factory=lambda: np.zeros(_BINS, np.int64))

    def add(self, confidence: np.ndarray, is_right: np.ndarray) -> None:
        """Count pixels: probabilities float [N] in 0..1 of the decided classes, and whether these are right, bool [N]."""
        bins = np.clip((confidence * _BINS).astype(np.int64), 0, _BINS - 1)
        self.pixels += np.bincount(bins, minlength=_BINS)
        self.right += np.bincount(bins[is_right], minlength=_BINS)

    def calibrated(self, confidence: np.ndarray) -> np.ndarray:
        """Return the share of right pixels, float64, that held-out pixels of the same confidence had.

        It rises with the confidence (isotonic regression over the bins, weighted by pixels) and is linear between the bins'
        middles. A bin without pixels says what its middle says.
        """
        middles = (np.arange(_BINS) + 0.5) / _BINS
        shares = (self.right + _PRIOR_PX * middles) / (self.pixels + _PRIOR_PX)
        from scipy.optimize import isotonic_regression

        rising = isotonic_regression(shares, weights=self.pixels + _PRIOR_PX).x
        return np.asarray(np.interp(confidence, middles, rising))
