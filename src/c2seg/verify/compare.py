"""Two maps compared on one sample: the paired difference of their overall accuracies.

Axes: H stratum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from c2seg.verify.intervals import difference_interval

__all__ = ["PairedDifference", "paired_difference"]


@dataclass(frozen=True)
class PairedDifference:
    """Accuracy of the first map minus that of the second, with standard error and interval.

    ``only_first`` and ``only_second`` are points that one map alone has right. ``p_value`` is that of the exact test of McNemar
    (1947), in which every point counts once whatever its stratum; it is for information.
    """

    value: float
    se: float
    low: float
    high: float
    only_first: int
    only_second: int
    p_value: float


def paired_difference(
    first: np.ndarray, second: np.ndarray, stratum: np.ndarray, weights: np.ndarray, level: float = 0.95
) -> PairedDifference:
    """Compare maps by whether they are right at points, bool [n] each; ``stratum`` [n] is an index into ``weights`` [H].

    Strata without points are left out.
    """
    from scipy.stats import binomtest

    strata = len(weights)
    points = np.bincount(stratum, minlength=strata)
    better = np.bincount(stratum[first & ~second], minlength=strata)
    worse = np.bincount(stratum[second & ~first], minlength=strata)
    share = np.where(points > 0, weights, 0.0)
    share = share / max(share.sum(), 1e-300)
    mean = (better - worse) / np.maximum(points, 1)
    squares = better + worse - points * mean**2
    variance = (share**2 * squares / np.maximum(points - 1, 1) / np.maximum(points, 1)).sum()
    low, high = difference_interval(better, worse, points, share, level=level)
    changed = int(better.sum() + worse.sum())
    p_value = float(binomtest(int(better.sum()), changed, 0.5).pvalue) if changed else 1.0
    return PairedDifference(
        float((share * mean).sum()), float(np.sqrt(max(variance, 0.0))), float(low), float(high), int(better.sum()),
        int(worse.sum()), p_value,
    )  # fmt: skip
