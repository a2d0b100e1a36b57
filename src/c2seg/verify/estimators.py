"""Accuracies and areas from a sample, with standard errors and intervals.

Every quantity is a ratio of two stratified estimates (Stehman 2014, 10.1080/01431161.2014.930207, equations 2, 3, 27 and 28).
Where strata are the mapped classes, these are the estimators of Olofsson et al. (2014, 10.1016/j.rse.2014.02.015, equations 1
to 11). With strata made after sampling they are those of Card (1982, Photogrammetric Engineering 48:431-439).

Axes: Q quantity, H stratum, K class; leading axes are those of several samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from c2seg.verify.intervals import share_interval
from c2seg.verify.matrix import SampleCounts

__all__ = ["Estimates", "Shares", "areas", "estimate", "iou", "overall", "producers", "ratio", "stack", "users"]


@dataclass(frozen=True)
class Shares:
    """Quantities as counts, int64 [..., Q, H]: points of the domain that count (hits), and that do not (misses).

    ``possible`` bool [Q, H]: strata in which the domain can lie. ``unsure_hits`` and ``unsure_misses`` are points that nobody
    could decide and that would be hits in the best, misses in the worst case.
    """

    hits: np.ndarray
    misses: np.ndarray
    possible: np.ndarray
    unsure_hits: np.ndarray
    unsure_misses: np.ndarray


@dataclass(frozen=True)
class Estimates:
    """Estimates, each [..., Q]: ``value`` and ``se`` are NaN where the sample has no point of the domain.

    ``low`` and ``high`` are the interval; ``worst_low`` and ``worst_high`` enclose it for every class that undecided points may
    have. ``points`` are those in the domain.
    """

    value: np.ndarray
    se: np.ndarray
    low: np.ndarray
    high: np.ndarray
    worst_low: np.ndarray
    worst_high: np.ndarray
    points: np.ndarray


def overall(sample: SampleCounts) -> Shares:
    """Return overall accuracy, Q = 1: the share of the area that is mapped as it is."""
    right = np.trace(sample.counts, axis1=-2, axis2=-1)[..., None, :]
    unknown = sample.unknown.sum(-1)[..., None, :]
    every = np.ones((1, len(sample.pixels)), bool)
    return Shares(right, sample.points[..., None, :] - right, every, unknown, unknown)


def areas(sample: SampleCounts) -> Shares:
    """Return the shares of the area by reference class, Q = K."""
    of_class = np.swapaxes(sample.counts.sum(-2), -1, -2)
    unknown = np.broadcast_to(sample.unknown.sum(-1)[..., None, :], of_class.shape)
    every = np.ones((sample.classes, len(sample.pixels)), bool)
    return Shares(of_class, sample.points[..., None, :] - of_class, every, unknown, unknown)


def users(sample: SampleCounts) -> Shares:
    """Return user's accuracies, Q = K: what is right of the area that is mapped as a class."""
    right, mapped, _ = _margins(sample)
    unknown = np.swapaxes(sample.unknown, -1, -2)
    return Shares(right, mapped - right, sample.possible.T, unknown, unknown)


def producers(sample: SampleCounts) -> Shares:
    """Return producer's accuracies, Q = K: what is mapped so of the area that is of a class."""
    right, _, real = _margins(sample)
    unknown = np.swapaxes(sample.unknown, -1, -2)
    elsewhere = unknown.sum(-2, keepdims=True) - unknown
    every = np.ones((sample.classes, len(sample.pixels)), bool)
    return Shares(right, real - right, every, unknown, elsewhere)


def iou(sample: SampleCounts) -> Shares:
    """Return intersections over union, Q = K: what is right of the area that is a class or mapped as one.

    F1 is 2 J / (1 + J) of it.
    """
    right, mapped, real = _margins(sample)
    unknown = np.swapaxes(sample.unknown, -1, -2)
    every = np.ones((sample.classes, len(sample.pixels)), bool)
    whole = np.broadcast_to(unknown.sum(-2, keepdims=True), unknown.shape)
    return Shares(right, mapped + real - 2 * right, every, unknown, whole)


def ratio(shares: Shares, sample: SampleCounts) -> tuple[np.ndarray, np.ndarray]:
    """Return value and standard error, [..., Q] (Stehman 2014, equations 27 and 28)."""
    points, weights = sample.points[..., None, :], sample.weights[..., None, :]
    scale = weights / np.maximum(points, 1)
    above, below = (scale * shares.hits).sum(-1), (scale * (shares.hits + shares.misses)).sum(-1)
    value = np.divide(above, below, out=np.full(below.shape, np.nan), where=below > 0)
    # The residual of a point is (1 - R) of a hit and -R of a miss; its variance within a stratum has n - 1 in its divisor.
    up, down = (1 - value)[..., None], value[..., None]
    total = up * shares.hits - down * shares.misses
    squares = up**2 * shares.hits + down**2 * shares.misses - total**2 / np.maximum(points, 1)
    variance = (
        weights**2 * squares / np.maximum(points - 1, 1) / np.maximum(points, 1) * sample.finite_factor[..., None, :]
    )
    total_variance = np.maximum(variance.sum(-1), 0)
    se = np.divide(np.sqrt(total_variance), below, out=np.full(below.shape, np.nan), where=below > 0)
    return value, se


def estimate(shares: Shares, sample: SampleCounts, level: float = 0.95) -> Estimates:
    """Return values, standard errors and intervals.

    What strata without a labeled point may hold widens the intervals by their whole share of the area.
    """
    value, se = ratio(shares, sample)
    low, high = _interval(shares.hits, shares.misses, shares, sample, level)
    if sample.unknown.any():
        best, worst = shares.hits + shares.unsure_hits, shares.misses + shares.unsure_misses
        worst_low = _interval(shares.hits, worst, shares, sample, level)[0]
        worst_high = _interval(best, shares.misses, shares, sample, level)[1]
    else:
        worst_low, worst_high = low, high
    points = (shares.hits + shares.misses).sum(-1)
    return Estimates(value, se, low, high, np.minimum(low, worst_low), np.maximum(high, worst_high), points)


def stack(parts: list[Shares]) -> Shares:
    """Return several quantities as one."""
    return Shares(
        *(np.concatenate([getattr(part, name) for part in parts], axis=-2) for name in Shares.__dataclass_fields__)
    )


def _margins(sample: SampleCounts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return points that are right, mapped as, and of each class, [..., K, H]."""
    right = np.diagonal(sample.counts, axis1=-2, axis2=-1)
    mapped, real = sample.counts.sum(-1), sample.counts.sum(-2)
    return np.swapaxes(right, -1, -2), np.swapaxes(mapped, -1, -2), np.swapaxes(real, -1, -2)


def _interval(
    hits: np.ndarray, misses: np.ndarray, shares: Shares, sample: SampleCounts, level: float
) -> tuple[np.ndarray, np.ndarray]:
    extra = hits + misses - shares.hits - shares.misses
    points = np.maximum(sample.points[..., None, :] + np.maximum(extra, 0), hits + misses)
    weights = np.where(shares.possible & (points > 0), sample.weights[..., None, :], 0.0)
    # Strata outside the domain do not matter for a ratio: their counts must not look like points of it.
    low, high = share_interval(
        np.where(weights > 0, hits, 0), np.where(weights > 0, misses, 0), points, weights,
        level=level, finite=sample.finite_factor[..., None, :],
    )  # fmt: skip
    unseen = np.where(shares.possible & (sample.points[..., None, :] == 0), sample.pixels, 0.0).sum(-1)
    if not unseen.any():
        return low, high
    seen = np.where(weights > 0, sample.pixels * (hits + misses) / np.maximum(points, 1), 0.0).sum(-1)
    total = np.maximum(seen + unseen, 1e-300)
    return low * seen / total, (high * seen + unseen) / total
