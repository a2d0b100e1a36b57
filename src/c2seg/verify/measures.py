"""Estimates as parts of records."""

from __future__ import annotations

import numpy as np

from c2seg.verify.estimators import Estimates
from c2seg.verify.records import AreaKm2, Measured

__all__ = ["area_km2", "measured"]


def measured(values: Estimates, index: int, *, as_f1: bool = False) -> Measured:
    """Return one quantity as a record; with ``as_f1`` of an intersection over union J the F1, 2 J / (1 + J)."""
    points = int(values.points[index])
    numbers = [
        float(getattr(values, name)[index]) for name in ("value", "se", "low", "high", "worst_low", "worst_high")
    ]
    if as_f1:
        union = numbers[0]
        numbers = [2 * n / (1 + n) if k != 1 else 2 * n / (1 + union) ** 2 for k, n in enumerate(numbers)]
    value, se, low, high, worst_low, worst_high = numbers
    return Measured(
        value=value if np.isfinite(value) else None, se=se if np.isfinite(se) else None, low=low, high=high,
        worst_low=worst_low, worst_high=worst_high, points=points,
    )  # fmt: skip


def area_km2(share: Measured, pixels: float, pixel_km2: float | None) -> AreaKm2 | None:
    """Return a share of ``pixels`` as an area; None without the size of a pixel."""
    if pixel_km2 is None or share.value is None or share.se is None:
        return None
    whole = pixels * pixel_km2
    return AreaKm2(value=share.value * whole, se=share.se * whole, low=share.low * whole, high=share.high * whole)
