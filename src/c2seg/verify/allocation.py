"""How many points each stratum gets, within bounds: at least a minimum, at most its pixels.

Neyman's allocation (Neyman 1934; Cochran 1977, equation 5.26) gives points in proportion to pixels times standard deviation,
here of being right: sqrt(p (1 - p)) for an anticipated accuracy p.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from c2seg.errors import InputError, unknown_name

__all__ = ["ANTICIPATED", "Allocation", "allocate", "anticipated_accuracy", "minimum_points"]

Allocation = Literal["neyman", "proportional", "equal"]
ANTICIPATED = 0.8
"""The accuracy of a stratum of which nothing is known."""
_LEAST = 2  # points of a stratum: with one there is no variance
_ACCURACIES = (0.5, 0.95)  # anticipated ones beyond would starve strata that are less right than they seem


def allocate(
    points: int,
    pixels: Sequence[int] | np.ndarray,
    accuracy: Sequence[float] | np.ndarray | None = None,
    how: str = "neyman",
    minimum: Sequence[int] | np.ndarray | None = None,
) -> np.ndarray:
    """Return the points of each stratum, int64 [h]; their sum is ``points``.

    ``accuracy`` [h] is the anticipated share of pixels that are right, for ``neyman``. ``minimum`` [h] are least numbers (2 in
    any case), as far as the stratum has pixels. Raises InputError for an unknown allocation, and if ``points`` are fewer
    than the minima or more than the pixels.
    """
    sizes = np.asarray(pixels, np.int64)
    if how not in get_args(Allocation):
        raise InputError(unknown_name("allocation", how, get_args(Allocation)))
    least = np.minimum(np.maximum(_LEAST, 0 if minimum is None else np.asarray(minimum, np.int64)), sizes)
    if points > sizes.sum():
        raise InputError(f"{points} points are more than the {sizes.sum()} pixels of the map; give a smaller `n`")
    if points < least.sum():
        raise InputError(
            f"{points} points are too few: {len(sizes)} strata need at least {least.sum()}; give a larger `n`, a smaller "
            "`min_per_class`, or fewer strata"
        )
    weights = _weights(sizes, accuracy, how)
    return _rounded(_bounded(points, weights, least, sizes), points, least, sizes)


def anticipated_accuracy(confidence: np.ndarray | None, strata: int) -> np.ndarray:
    """Return the anticipated accuracy float64 [h]: the mean confidence within 0.5..0.95, else 0.8."""
    if confidence is None:
        return np.full(strata, ANTICIPATED)
    known: np.ndarray = np.clip(np.nan_to_num(confidence, nan=ANTICIPATED), *_ACCURACIES)
    return known


def minimum_points(
    points: int, pixels: np.ndarray, classes: np.ndarray, per_class: int | None
) -> tuple[int, np.ndarray]:
    """Return the least points of a class, and of each stratum, int64 [h].

    ``classes`` [h] numbers the class that a stratum is of. A class' points are divided among its strata by their pixels. None:
    half of all points are divided evenly among the classes, at most 50 each.
    """
    numbers, places = np.unique(classes, return_inverse=True)
    least = min(50, points // (2 * len(numbers))) if per_class is None else per_class
    totals = np.bincount(places, weights=pixels)
    shares = pixels / totals[places]
    return least, np.floor(np.minimum(least, totals[places]) * shares).astype(np.int64)


def _weights(sizes: np.ndarray, accuracy: Sequence[float] | np.ndarray | None, how: str) -> np.ndarray:
    if how == "equal":
        return np.ones(len(sizes))
    if how == "proportional":
        return sizes.astype(np.float64)
    right = np.full(len(sizes), ANTICIPATED) if accuracy is None else np.asarray(accuracy, np.float64)
    weights: np.ndarray = sizes * np.sqrt(np.clip(right * (1 - right), 1e-6, None))
    return weights


def _bounded(points: int, weights: np.ndarray, least: np.ndarray, most: np.ndarray) -> np.ndarray:
    """Return float64 [h] in proportion to the weights within the bounds, with the sum ``points`` (by bisection)."""
    low, high = 0.0, float((most / weights).max()) + 1.0
    for _ in range(200):
        middle = (low + high) / 2
        if np.clip(weights * middle, least, most).sum() < points:
            low = middle
        else:
            high = middle
    bounded: np.ndarray = np.clip(weights * high, least, most)
    return bounded


def _rounded(shares: np.ndarray, points: int, least: np.ndarray, most: np.ndarray) -> np.ndarray:
    """Round to whole numbers within the bounds, the largest remainders up, so that the sum is right."""
    whole = np.clip(np.floor(shares + 1e-9).astype(np.int64), least, most)
    missing = points - int(whole.sum())
    order = np.argsort(-(shares - whole), kind="stable")
    while missing:
        step = 1 if missing > 0 else -1
        for place in order if step > 0 else order[::-1]:
            if missing and least[place] <= whole[place] + step <= most[place]:
                whole[place] += step
                missing -= step
    return whole
