"""Intervals of shares from a stratified sample: exact in one stratum, with nearly the stated coverage over several.

A share is a ratio of areas: overall accuracy is the area that is right over all of it, user's accuracy of a class what is
right of what is mapped so, intersection over union what is right over what either says. In every stratum a point is a hit, a
miss, or outside the domain.

The interval holds every value that a test does not refuse. The test takes the most likely shares of the strata under which
the ratio has that value (constrained maximum likelihood; Miettinen and Nurminen 1985, 10.1002/sim.4780040211). They give the
variance of the estimate, so strata without a hit or a miss count with what they may hide. The ratio then has a binomial
distribution over an effective number of points of this variance (Korn and Graubard 1998, Survey Methodology 24:193-201), and
the test is that of Clopper and Pearson (1934). In one stratum this is their exact interval. ``benchmarks/coverage.py`` measures
how often the intervals hold what they should.

Axes: H stratum; leading axes are those of several samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np

__all__ = ["binomial_interval", "difference_interval", "share_accepted", "share_interval", "upper_limit"]

_STEPS = 32
"""Of bisection: limits of means are right to 1e-9."""
_RATIO_STEPS = 20
"""Limits of ratios are right to 1e-5."""
_MULTIPLIER_STEPS = 24
_NEWTON = 5
_TINY = 1e-300


def binomial_interval(
    hits: np.ndarray | float, points: np.ndarray | float, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Return the exact interval of Clopper and Pearson (1934): low and high of a share; 0 and 1 without points."""
    from scipy.special import betaincinv

    some, all_of = np.broadcast_arrays(np.asarray(hits, float), np.asarray(points, float))
    tail, misses = (1 - level) / 2, all_of - some
    low = np.where(some > 0, betaincinv(np.maximum(some, _TINY), misses + 1, tail), 0.0)
    high = np.where(misses > 0, betaincinv(some + 1, np.maximum(misses, _TINY), 1 - tail), 1.0)
    return low, high


def upper_limit(hits: np.ndarray | float, points: np.ndarray | float, confidence: float) -> np.ndarray:
    """Return the exact one-sided upper limit of a share (Clopper and Pearson 1934); 1 without points."""
    return binomial_interval(hits, points, 2 * confidence - 1)[1]


def share_interval(
    hits: np.ndarray,
    misses: np.ndarray,
    points: np.ndarray,
    weights: np.ndarray,
    *,
    level: float = 0.95,
    finite: np.ndarray | float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return low and high of the share ``sum W hits / sum W (hits + misses)``, each [...].

    ``hits``, ``misses``, ``points`` [..., H] are counts of points by stratum, ``weights`` [H] or [..., H] the strata's shares
    of the area; a stratum without points must have weight 0. ``finite`` [..., H] is the factor of the variance where points
    were drawn without replacement, 1 - n/N. Without hits and misses the interval is 0 to 1.
    """
    counts = np.broadcast_arrays(*(np.asarray(value, float) for value in (hits, misses, points, weights, finite)))
    tail = (1 - level) / 2
    sample = _sample(counts[:4], counts[4])
    low, high = sample.lower(tail), 1 - sample.swapped().lower(tail)
    return np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0)


def share_accepted(
    value: float,
    hits: np.ndarray,
    misses: np.ndarray,
    points: np.ndarray,
    weights: np.ndarray,
    *,
    level: float = 0.95,
    finite: np.ndarray | float = 1.0,
) -> np.ndarray:
    """Return bool [...]: whether the interval of ``share_interval`` holds a value. It is much faster than the interval."""
    counts = np.broadcast_arrays(*(np.asarray(part, float) for part in (hits, misses, points, weights, finite)))
    tail = (1 - level) / 2
    sample = _sample(counts[:4], counts[4])
    accepted = np.ones(counts[0].shape[:-1], bool)
    for side, at in ((sample, value), (sample.swapped(), 1 - value)):
        above = side.estimate > max(at, 0.0)
        if above.any():
            part = side.part(above)
            accepted[above] &= _probability(part, np.full(int(above.sum()), at)) >= tail
    return accepted


def difference_interval(
    first: np.ndarray, second: np.ndarray, points: np.ndarray, weights: np.ndarray, *, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Return low and high of ``sum W first / n - sum W second / n``, each [...], for disjoint counts [..., H].

    The interval of the score test (Tango 1998, Statistics in Medicine 17:891-908), here over strata.
    """
    from scipy.special import ndtri

    counts = np.broadcast_arrays(*(np.asarray(value, float) for value in (first, second, points, weights)))
    sample = _sample(counts, np.ones(()))
    z = float(ndtri((1 + level) / 2))
    return _lower_difference(sample, z), -_lower_difference(sample.swapped(), z)


def _lower_difference(sample: _Sample, z: float) -> np.ndarray:
    observed = (sample.weights / np.maximum(sample.points, 1) * (sample.hits - sample.misses)).sum(-1)

    def at(position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pull = _multiplier(position, sample.points)[..., None] * sample.weights
        hit, miss = _shares(sample, pull, pull)
        variance = (sample.weights**2 * (hit + miss - (hit - miss) ** 2) * sample.factor).sum(-1)
        return (sample.weights * (hit - miss)).sum(-1), variance

    def refused(position: np.ndarray) -> np.ndarray:
        difference, variance = at(position)
        past: np.ndarray = observed - difference > z * np.sqrt(variance)
        return past

    limit: np.ndarray = at(_bisect(refused, observed.shape))[0]
    return limit


def _sample(counts: Sequence[np.ndarray], finite: np.ndarray) -> _Sample:
    hits, misses, points, weights = counts
    return _Sample(hits, misses, points, weights, _variance_factor(points, weights) * finite)


def _variance_factor(points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return [..., H]: 1 / n, corrected for the H - 1 shares that the test does not fix (Miettinen and Nurminen)."""
    strata = np.maximum((weights > 0).sum(-1, keepdims=True), 1)
    factor: np.ndarray = 1 / np.maximum(points - 1 + 1 / strata, 1 / strata)
    return factor


@dataclass(frozen=True)
class _Sample:
    """Counts of samples, each [..., H]; ``factor`` times the variance of a point is that of a stratum's mean."""

    hits: np.ndarray
    misses: np.ndarray
    points: np.ndarray
    weights: np.ndarray
    factor: np.ndarray

    def swapped(self) -> _Sample:
        return _Sample(self.misses, self.hits, self.points, self.weights, self.factor)

    def part(self, chosen: np.ndarray) -> _Sample:
        return _Sample(*(getattr(self, item.name)[chosen] for item in fields(self)))

    @property
    def domain(self) -> np.ndarray:
        """Share of the area that hits or misses, [...]."""
        scale = self.weights / np.maximum(self.points, 1)
        size: np.ndarray = (scale * (self.hits + self.misses)).sum(-1)
        return size

    @property
    def estimate(self) -> np.ndarray:
        """The ratio, [...]; 0 where it is undefined."""
        above, size = (self.weights / np.maximum(self.points, 1) * self.hits).sum(-1), self.domain
        ratio: np.ndarray = np.divide(above, size, out=np.zeros_like(size), where=size > 0)
        return ratio

    def lower(self, tail: float) -> np.ndarray:
        """Return the lower limits, [...]."""
        estimate = self.estimate
        whole = np.all((self.hits + self.misses == self.points) | (self.weights == 0), axis=-1)
        low = np.zeros_like(estimate)
        for is_part, search in ((whole, _search_mean), (~whole, _search_ratio)):
            chosen = is_part & (estimate > 0)
            if chosen.any():
                low[chosen] = search(self.part(chosen), tail)
        return low


def _search_mean(sample: _Sample, tail: float) -> np.ndarray:
    """Return the lower limit where the domain is everything: one multiplier fixes the shares of all strata."""
    estimate, size = sample.estimate, sample.domain

    def at(position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pull = _multiplier(position, sample.points)[..., None] * sample.weights
        total = pull + sample.points
        share = 2 * sample.hits / (total + np.sqrt(np.maximum(total**2 - 4 * pull * sample.hits, 0)) + _TINY)
        variance = (sample.weights**2 * share * (1 - share) * sample.factor).sum(-1)
        return (sample.weights * share).sum(-1) / size, variance / size**2

    limit: np.ndarray = at(_bisect(lambda place: _tail(estimate, *at(place)) < tail, estimate.shape))[0]
    return limit


def _search_ratio(sample: _Sample, tail: float) -> np.ndarray:
    """Return the lower limit of a ratio of two estimates: the smallest one that the test accepts."""
    estimate = sample.estimate
    limit: np.ndarray = estimate * _bisect(
        lambda part: _probability(sample, estimate * part) >= tail, estimate.shape, _RATIO_STEPS
    )
    return limit


def _probability(sample: _Sample, ratio: np.ndarray) -> np.ndarray:
    """Return the probability [...] of an estimate at least as large if the ratio is ``ratio`` [...], below the estimate."""
    size = sample.domain
    up, down = (1 - ratio)[..., None], ratio[..., None]

    def at(position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pull = _multiplier(position, sample.points)[..., None] * sample.weights
        hit, miss = _shares(sample, pull * up, pull * down)
        gap = (sample.weights * (up * hit - down * miss)).sum(-1)
        spread = up**2 * hit + down**2 * miss - (up * hit - down * miss) ** 2
        return gap, (sample.weights**2 * spread * sample.factor).sum(-1) / size**2

    position = _bisect(lambda place: at(place)[0] < 0, ratio.shape, _MULTIPLIER_STEPS)
    return _tail(sample.estimate, ratio, at(position)[1])


def _shares(sample: _Sample, up: np.ndarray, down: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the most likely shares of hits and misses in each stratum under the multipliers.

    They are x / (v + up), y / (v - down) and r / v, with the v that makes their sum 1. A stratum without misses has some
    where v would be less than ``down``. Newton's method comes from the left of v, because the sum is convex in v.
    """
    hits, misses = sample.hits, sample.misses
    rest = sample.points - hits - misses
    divisor = np.maximum.reduce([np.where(misses > 0, down + misses, 0), rest, hits - up, np.full_like(hits, 1e-12)])
    for _ in range(_NEWTON):
        lowered = np.where(misses > 0, np.maximum(divisor - down, _TINY), 1)
        terms = hits / (divisor + up), misses / lowered, rest / divisor
        slope = terms[0] / (divisor + up) + terms[1] / lowered + terms[2] / divisor
        divisor = divisor + (terms[0] + terms[1] + terms[2] - 1) / np.maximum(slope, _TINY)
    free = (misses == 0) & (divisor < down)
    divisor = np.maximum(np.where(free, down, divisor), _TINY)
    hit = hits / (divisor + up)
    unseen = np.where(free, np.maximum(1 - hit - rest / divisor, 0), 0)
    return hit, np.where(misses > 0, misses / np.maximum(divisor - down, _TINY), unseen)


def _multiplier(position: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the multiplier at a position 0..1, on the scale of all points."""
    multiplier: np.ndarray = points.sum(-1) * position / np.maximum(1 - position, _TINY)
    return multiplier


def _tail(estimate: np.ndarray, share: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Return the probability of an estimate at least as large, by the binomial distribution of this share and variance."""
    from scipy.special import betainc

    share = np.clip(share, 0.0, 1.0)
    effective = share * (1 - share) / np.maximum(variance, _TINY)
    above, below = effective * estimate, np.maximum(effective * (1 - estimate), 0)
    probability = betainc(np.maximum(above, _TINY), below + 1, share)
    return np.where(variance > 0, probability, share >= estimate - 1e-9)  # without variance: up to rounding


def _bisect(reached: Callable[[np.ndarray], np.ndarray], shape: tuple[int, ...], steps: int = _STEPS) -> np.ndarray:
    """Return the position 0..1 from which on ``reached`` is true."""
    low, high = np.zeros(shape), np.ones(shape)
    for _ in range(steps):
        middle = (low + high) / 2
        past = reached(middle)
        low, high = np.where(past, low, middle), np.where(past, middle, high)
    position: np.ndarray = (low + high) / 2
    return position
