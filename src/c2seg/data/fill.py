"""Undeclared nodata: one extreme value in all bands of many pixels, such as the black around a scene.

In a raster of one band, only the usual fill values count.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

__all__ = ["FillSearch"]

_LEAST_SHARE = 0.01
_USUAL = (-9999.0, -32768.0, -999.0, -99.0, 65535.0)
_MOST_VALUES = 64  # of one block: an image with more values that all bands share has no fill


@dataclass
class FillSearch:
    """Counts, over the blocks of an image, valid pixels with one value in all bands."""

    pixels: int = 0
    counts: Counter[float] = field(default_factory=Counter)
    low: float = np.inf
    high: float = -np.inf

    def add(self, raw: np.ndarray, valid: np.ndarray) -> None:
        """Count a block: raw values [C, H, W], valid pixels bool [H, W]."""
        values = raw[:, valid]
        if not values.size:
            return
        self.pixels += values.shape[1]
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        same = values[0][(values == values[0]).all(axis=0)]
        if len(raw) == 1:
            same = same[np.isin(same, _USUAL)]
        numbers, counts = np.unique(same, return_counts=True)
        if len(numbers) <= _MOST_VALUES:
            self.counts.update(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))

    def note(self, origin: str) -> str | None:
        """Return a note if at least 1 % of the pixels have the smallest or the largest value in all bands."""
        for value, where in ((self.low, "smallest"), (self.high, "largest")):
            count = self.counts.get(value, 0)
            if self.pixels and count >= _LEAST_SHARE * self.pixels:
                return (
                    f"{origin}: {count:,} pixels ({count / self.pixels:.1%}) have {value:g} in all bands, the {where} value "
                    f"of all; if they hold no data, declare it: `nodata: {value:g}` in city.yaml"
                )
        return None
