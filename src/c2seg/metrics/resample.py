"""Uncertainty of scores: block bootstrap of a map, and paired comparison of two maps.

Errors of neighboring pixels are correlated, so pixels are not independent samples. Squares of about 1 km nearly are. Blocks
are drawn with replacement, and scores are computed from the drawn counts (Efron and Tibshirani, 1993, chapter 8.6, with
fixed blocks of a plane instead of a series).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from c2seg.errors import InputError
from c2seg.metrics.confusion import Confusion
from c2seg.metrics.protocols import Scores, scores
from c2seg.records import Record

__all__ = ["Comparison", "Interval", "bootstrap_scores", "compare_maps", "compare_pooled"]

HEADLINE = ("oa", "kappa", "mf1", "miou")
_REPLICATES_PER_BATCH = 100


class Interval(Record):
    """A score or difference: its value on the whole map, its percentile interval and its standard deviation.

    Values are fractions. They are None if the value, or all replicates of it, are undefined.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    sd: float | None = None


class Comparison(Record):
    """Difference of a score: first map minus second map.

    ``p_value`` is two-sided: twice the smaller fraction of replicates on one side of zero (at least 1 in replicates + 1).
    None if undefined.
    """

    difference: Interval
    p_value: float | None


def bootstrap_scores(
    blocks: Sequence[Confusion],
    protocol: str = "challenge",
    *,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval | list[Interval]]:
    """Return intervals of OA, kappa, mF1 and mIoU (keys as in ``Scores``) and, under ``iou``, one per class.

    ``blocks`` are counts of spatial blocks or tiles. Those without labeled pixels are not drawn. A class that is not in a
    replicate is treated as absent by the protocol. Intervals of means are therefore wide if a rare class is in few blocks.
    Raises InputError for fewer than two blocks.
    """
    drawn = _replicates([blocks], protocol, replicates, seed)[0]
    whole = scores(sum(blocks[1:], blocks[0]), protocol)
    result: dict[str, Interval | list[Interval]] = {
        name: _interval(getattr(whole, name), [getattr(r, name) for r in drawn], level) for name in HEADLINE
    }
    result["iou"] = [_interval(value, [r.iou[k] for r in drawn], level) for k, value in enumerate(whole.iou)]
    return result


def compare_maps(
    first: Sequence[Confusion],
    second: Sequence[Confusion],
    protocol: str = "challenge",
    *,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Comparison]:
    """Compare two maps with the same ground truth by drawing the same blocks for both.

    Keys are those of OA, kappa, mF1 and mIoU in ``Scores``. Both must have the same blocks in the same order. Raises InputError
    if their ground truth differs.
    """
    if len(first) != len(second) or any(
        not np.array_equal(a.counts.sum(1), b.counts.sum(1)) for a, b in zip(first, second, strict=True)
    ):
        raise InputError("the two maps have different ground truth or blocks; they cannot be paired")
    pairs = list(zip(*_replicates([first, second], protocol, replicates, seed), strict=True))
    totals = [scores(sum(blocks[1:], blocks[0]), protocol) for blocks in (first, second)]
    result = {}
    for name in HEADLINE:
        differences = [_minus(getattr(a, name), getattr(b, name)) for a, b in pairs]
        result[name] = _comparison(_minus(getattr(totals[0], name), getattr(totals[1], name)), differences, level)
    return result


Runs = Sequence[Sequence[Sequence[Confusion]]]
"""Counts by pair of cities, seed and block."""


def compare_pooled(
    first: Runs,
    second: Runs,
    score: str = "miou",
    *,
    protocol: str = "challenge",
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[Comparison, list[float | None]]:
    """Compare two methods over several pairs of cities and seeds. Return the comparison and the differences by pair.

    The difference is the mean over pairs of the mean over seeds: score of the first method minus that of the second. Each
    replicate draws pairs with replacement, then seeds of each pair, then blocks of each seed, the same for both methods (a
    nested bootstrap; Davison and Hinkley, 1997, chapter 3.8). A pair with an undefined score is not part of that replicate.
    Raises InputError if the methods have different pairs, seeds or blocks, or if there are too few blocks.
    """
    if [[len(blocks) for blocks in seeds] for seeds in first] != [
        [len(blocks) for blocks in seeds] for seeds in second
    ]:
        raise InputError("the two methods were not run on the same pairs, seeds and blocks; they cannot be paired")
    whole = [
        _mean_of([_minus(_score(a, score, protocol), _score(b, score, protocol)) for a, b in zip(*runs, strict=True)])
        for runs in zip(first, second, strict=True)
    ]
    rng = np.random.default_rng(seed)
    drawn = []
    # Differences of all runs for the maximum number of draws, computed once for all replicates.
    differences = [
        [
            [
                _minus(getattr(a, score), getattr(b, score))
                for a, b in zip(*_replicates(runs, protocol, replicates, int(rng.integers(2**31))), strict=True)
            ]
            for runs in zip(*seeds, strict=True)
        ]
        for seeds in zip(first, second, strict=True)
    ]
    for _ in range(replicates):
        means = []
        for pair in rng.integers(len(differences), size=len(differences)):
            runs = differences[pair]
            picked = rng.integers(len(runs), size=len(runs))
            means.append(_mean_of([runs[run][rng.integers(replicates)] for run in picked]))
        drawn.append(_mean_of(means))
    return _comparison(_mean_of(whole), drawn, level), whole


def _score(blocks: Sequence[Confusion], name: str, protocol: str) -> float | None:
    value: float | None = getattr(scores(sum(blocks[1:], blocks[0]), protocol), name)
    return value


def _mean_of(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _comparison(value: float | None, differences: Sequence[float | None], level: float) -> Comparison:
    known = np.array([d for d in differences if d is not None])
    p_value = None
    if known.size:
        tail = min((known <= 0).sum(), (known >= 0).sum())
        p_value = min(1.0, 2 * float(tail + 1) / (known.size + 1))
    return Comparison(difference=_interval(value, differences, level), p_value=p_value)


def _replicates(
    maps: Sequence[Sequence[Confusion]], protocol: str, replicates: int, seed: int
) -> list[list[Scores]]:  # fmt: skip
    """Return the scores of all replicates by map. All maps share the draws of blocks."""
    used = [i for i, block in enumerate(maps[0]) if block.counts.any()]
    if len(used) < 2:
        raise InputError(f"intervals need at least 2 blocks with labeled pixels, found {len(used)}; use smaller blocks")
    ids = maps[0][0].ids
    # Integers below 2^53 are exact in float64, whose matrix product is much faster than that of integers.
    stacks = [np.stack([blocks[i].counts.ravel() for i in used]).astype(float) for blocks in maps]
    rng = np.random.default_rng(seed)
    result: list[list[Scores]] = [[] for _ in maps]
    for start in range(0, replicates, _REPLICATES_PER_BATCH):
        size = min(_REPLICATES_PER_BATCH, replicates - start)
        drawn = rng.integers(0, len(used), (size, len(used))) + len(used) * np.arange(size)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(float)
        for scored, stack in zip(result, stacks, strict=True):
            totals = (weights @ stack).astype(np.int64).reshape(size, len(ids), len(ids) + 1)
            scored += [scores(Confusion(ids, counts), protocol) for counts in totals]
    return result


def _interval(value: float | None, drawn: Sequence[float | None], level: float) -> Interval:
    known = np.array([d for d in drawn if d is not None])
    if value is None or known.size < 2:
        return Interval(value=value)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value=value, low=float(low), high=float(high), sd=float(known.std(ddof=1)))


def _minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b
