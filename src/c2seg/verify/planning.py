"""How many points a sample needs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from c2seg.errors import InputError, unknown_name

__all__ = ["check_half_width", "check_level", "more_points", "points_for_half_width", "quantile"]

_ALLOCATIONS = ("neyman", "proportional", "equal")


def check_half_width(half_width: float) -> None:
    """Raise InputError for a half-width outside 0..0.5."""
    if not 0 < half_width < 0.5:
        raise InputError(f"`half_width` must be between 0 and 0.5, found {half_width:g}; 0.03 means plus or minus 3 %")


def check_level(level: float) -> None:
    """Raise InputError for a level of confidence outside 0.5..1."""
    if not 0.5 <= level < 1:
        raise InputError(f"`level` must be at least 0.5 and below 1, found {level:g}; 0.95 is usual")


def quantile(level: float) -> float:
    """Return the quantile z of the normal distribution for a two-sided interval of a level."""
    from scipy.special import ndtri

    return float(ndtri((1 + level) / 2))


def points_for_half_width(
    half_width: float,
    *,
    population: Sequence[float] | np.ndarray,
    accuracy: Sequence[float] | np.ndarray,
    level: float = 0.95,
    allocation: str = "neyman",
) -> int:
    """Return how many points estimate overall accuracy to plus or minus ``half_width``.

    ``population`` [H] are the sizes of the strata, ``accuracy`` [H] their anticipated accuracies. For ``neyman`` Olofsson et
    al. (2014), equation 13 (Cochran 1977, equation 5.25); ``proportional`` and ``equal`` accordingly (Cochran, 5.19 with his
    5.51). Raises InputError for values out of range.
    """
    check_half_width(half_width)
    check_level(level)
    if allocation not in _ALLOCATIONS:
        raise InputError(unknown_name("allocation", allocation, _ALLOCATIONS))
    sizes, right = np.asarray(population, float), np.asarray(accuracy, float)
    if (right < 0).any() or (right > 1).any() or sizes.sum() <= 0:
        raise InputError("anticipated accuracies must lie within 0..1, and strata must have pixels")
    weights, variance = sizes / sizes.sum(), right * (1 - right)
    spread = {
        "neyman": (weights * np.sqrt(variance)).sum() ** 2,
        "proportional": (weights * variance).sum(),
        "equal": len(sizes) * (weights**2 * variance).sum(),
    }[allocation]
    error = half_width / quantile(level)
    points: float = float(spread) / (error**2 + (weights * variance).sum() / sizes.sum())
    return max(1, math.ceil(points - 1e-9))


def more_points(points: int, se: float, half_width: float, level: float = 0.95) -> int:
    """Return how many more points of the same allocation reach a half-width, from the standard error of those at hand."""
    check_half_width(half_width)
    check_level(level)
    needed = points * (quantile(level) * se / half_width) ** 2
    return max(0, math.ceil(needed - 1e-9) - points)
