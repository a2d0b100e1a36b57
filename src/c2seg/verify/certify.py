"""What a sample shows of the share wrong: for the map, its classes and zones, with a stated probability of being mistaken.

The share wrong of a domain is at most alpha, or that is not shown. The test refuses "more than alpha is wrong" with
probability 1 - delta of not being mistaken, at every number of points. Within one stratum the test is exact (binomial; with
the pixels of the stratum known, hypergeometric). Over several strata the exact p-values of the strata are joined by Fisher's
method, and the worst division of alpha over the strata counts (Ottoboni et al. 2018, 10.1007/978-3-030-00419-4_12). Of
several domains the p-values are corrected (Holm 1979). Points that nobody could decide count as wrong.

Axes: H stratum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from c2seg.errors import InputError, unknown_name

__all__ = ["Correction", "adjusted_p_values", "check_settings", "share_limit", "share_p_value"]

Correction = Literal["holm", "bonferroni", "none"]
_STEPS = 34
_TINY = 1e-300


def check_settings(alpha: float, delta: float, correction: str) -> None:
    """Raise InputError for settings out of range."""
    if not 0 < alpha < 1:
        raise InputError(f"`alpha`, the share wrong, must be between 0 and 1, found {alpha:g}")
    if not 0 < delta <= 0.5:
        raise InputError(f"`delta`, the probability of a mistake, must be above 0 and at most 0.5, found {delta:g}")
    if correction not in get_args(Correction):
        raise InputError(unknown_name("correction", correction, get_args(Correction)))


def share_p_value(
    wrong: Sequence[int] | np.ndarray,
    points: Sequence[int] | np.ndarray,
    pixels: Sequence[float] | np.ndarray,
    alpha: float,
) -> float:
    """Return the p-value of "more than ``alpha`` is wrong" for counts [H] of points drawn from strata of ``pixels`` [H] at
    random.

    A stratum without points may be wrong altogether. Without any point the p-value is 1.
    """
    seen = _Seen.of(wrong, points, pixels)
    rest = alpha - seen.unseen
    if rest <= 0 or not len(seen.points):
        return 1.0
    if len(seen.points) == 1:
        return _of_one(seen, min(rest / seen.weights[0], 1.0))
    if rest >= seen.weights.sum():
        return 0.0
    position = _bisect(lambda place: float((seen.weights * seen.worst(place)).sum()) >= rest)
    shares = seen.worst(position)
    # The search ends a little above; at most alpha is right, and gives a larger p-value.
    return seen.joined(shares * min(1.0, rest / max(float((seen.weights * shares).sum()), _TINY)))


def share_limit(
    wrong: Sequence[int] | np.ndarray,
    points: Sequence[int] | np.ndarray,
    pixels: Sequence[float] | np.ndarray,
    delta: float,
) -> float:
    """Return the upper limit of the share wrong: the smallest alpha whose p-value is at most ``delta``; 1 if there is none."""
    seen = _Seen.of(wrong, points, pixels)
    if not len(seen.points):
        return 1.0
    if len(seen.points) == 1:
        share = _bisect(lambda place: _of_one(seen, place) <= delta, 0.0, 1.0)
        return min(1.0, seen.unseen + float(seen.weights[0]) * share)
    position = _bisect(lambda place: seen.joined(seen.worst(place)) <= delta)
    return min(1.0, seen.unseen + float((seen.weights * seen.worst(position)).sum()))


def adjusted_p_values(p_values: Sequence[float], correction: str) -> list[float]:
    """Return p-values corrected for their number: by Holm (1979), by Bonferroni, or not at all."""
    count = len(p_values)
    if correction == "none":
        return list(p_values)
    if correction == "bonferroni":
        return [min(1.0, count * p) for p in p_values]
    result, highest = [0.0] * count, 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable").tolist()):
        highest = max(highest, min(1.0, (count - rank) * p_values[index]))
        result[index] = highest
    return result


@dataclass(frozen=True)
class _Seen:
    """Strata with points, float64 [H] each, and the share of the area in the others."""

    wrong: np.ndarray
    points: np.ndarray
    pixels: np.ndarray
    weights: np.ndarray
    unseen: float

    @classmethod
    def of(
        cls, wrong: Sequence[int] | np.ndarray, points: Sequence[int] | np.ndarray, pixels: Sequence[float] | np.ndarray
    ) -> _Seen:
        x, n, sizes = (np.asarray(values, float) for values in (wrong, points, pixels))
        weights = sizes / max(sizes.sum(), _TINY)
        seen = (n > 0) & (sizes > 0)
        return cls(x[seen], n[seen], sizes[seen], weights[seen], float(weights[~seen].sum()))

    def worst(self, place: float) -> np.ndarray:
        """Return the shares [H] at which the evidence of each stratum grows by ``exp(place)`` times its weight.

        Minus the logarithm of the probability is convex in the share, so of all shares with their mean these have the least
        evidence in all.
        """
        low, high = np.zeros(len(self.points)), np.ones(len(self.points))
        for _ in range(_STEPS):
            middle = (low + high) / 2
            steep = self._log_slope(middle) >= place + np.log(self.weights)
            low, high = np.where(steep, low, middle), np.where(steep, middle, high)
        return high

    def joined(self, shares: np.ndarray) -> float:
        """Return the p-value of these shares, by Fisher's method."""
        from scipy.special import chdtrc

        return float(chdtrc(2 * len(self.points), -2 * self._log_probability(shares).sum()))

    def _log_probability(self, shares: np.ndarray) -> np.ndarray:
        """Return the logarithm of the probability of at most ``wrong``, [H]."""
        from scipy.special import betainc

        inside = betainc(np.maximum(self.points - self.wrong, _TINY), self.wrong + 1, 1 - shares)
        return np.where(self.wrong >= self.points, 0.0, np.log(np.maximum(inside, _TINY)))

    def _log_slope(self, shares: np.ndarray) -> np.ndarray:
        """Return the logarithm of the slope of minus ``_log_probability``: n P(x of n - 1) / P(at most x of n)."""
        from scipy.special import gammaln, xlog1py, xlogy

        x, rest = self.wrong, np.maximum(self.points - self.wrong - 1, 0)
        logs = gammaln(self.points + 1) - gammaln(x + 1) - gammaln(rest + 1) + xlogy(x, shares) + xlog1py(rest, -shares)
        slope: np.ndarray = logs - self._log_probability(shares)
        return np.where(self.wrong >= self.points, -np.inf, slope)


def _of_one(seen: _Seen, share: float) -> float:
    """Return the probability of at most ``wrong`` in one stratum in which more than ``share`` of the pixels is wrong.

    Hypergeometric: the smallest number of wrong pixels that is more than the share.
    """
    from scipy.stats import hypergeom

    pixels = round(seen.pixels[0])
    least = int(np.floor(share * pixels + 1e-9)) + 1
    return 0.0 if least > pixels else float(hypergeom.cdf(seen.wrong[0], pixels, least, seen.points[0]))


def _bisect(reached: Callable[[float], bool], low: float = -60.0, high: float = 45.0) -> float:
    """Return where ``reached`` becomes true; by default over logarithms of multipliers."""
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high
