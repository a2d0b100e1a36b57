"""Intervals hold what they should: exact where they can be, measured elsewhere (benchmarks/coverage.py has the full table)."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from c2seg.verify.allocation import allocate
from c2seg.verify.compare import paired_difference
from c2seg.verify.estimators import areas, estimate, iou, overall, producers, ratio, stack, users
from c2seg.verify.intervals import (
    binomial_interval,
    difference_interval,
    share_accepted,
    share_interval,
    upper_limit,
)
from c2seg.verify.matrix import SampleCounts

ONE = np.ones(1)


def one_stratum(hits, points):
    hits = np.asarray(hits)[:, None]
    return share_interval(hits, points - hits, np.full(hits.shape, points), ONE)


def least_share(draws, level=0.94, deviations=3.0):
    """The share of draws that must hold if the coverage is `level`: it fails once in a thousand times by chance."""
    return level - deviations * (level * (1 - level) / draws) ** 0.5


@pytest.mark.parametrize("points", [1, 7, 50])
def test_one_stratum_is_exact(points):
    hits = np.arange(points + 1)
    low, high = one_stratum(hits, points)
    expected = [binomtest(int(h), points).proportion_ci(0.95, "exact") for h in hits]
    assert low == pytest.approx([e.low for e in expected], abs=1e-8)
    assert high == pytest.approx([e.high for e in expected], abs=1e-8)
    assert np.stack(binomial_interval(hits, points)) == pytest.approx(np.stack([low, high]), abs=1e-8)


def test_exact_coverage_in_one_stratum():
    hits = np.arange(61)
    low, high = one_stratum(hits, 60)
    for share in np.linspace(0.003, 0.5, 60):
        inside = (low <= share) & (share <= high)
        assert binom.pmf(hits, 60, share)[inside].sum() >= 0.95 - 1e-9


def test_one_sided_limit():
    assert upper_limit(0, 59, 0.95) == pytest.approx(1 - 0.05 ** (1 / 59))
    assert upper_limit(5, 5, 0.95) == 1


def test_all_right_is_no_certainty():
    points = np.array([50, 50, 50])
    low, high = share_interval(points, 0 * points, points, np.array([0.9, 0.06, 0.04]))
    assert high == 1
    # What the largest stratum may hide counts: all the error can be there.
    assert 1 - low == pytest.approx(0.9 * upper_limit(0, 50, 0.975), rel=0.1)


def test_without_points_nothing_is_known():
    assert [float(v) for v in share_interval(np.zeros(2), np.zeros(2), np.full(2, 9), np.full(2, 0.5))] == [0, 1]


def test_a_census_leaves_no_doubt():
    points = np.array([20, 30])
    low, high = share_interval(np.array([15, 30]), np.array([5, 0]), points, np.array([0.4, 0.6]), finite=np.zeros(2))
    assert [low, high] == pytest.approx([0.9, 0.9], abs=1e-6)


def test_accepted_values_are_those_of_the_interval():
    rng = np.random.default_rng(1)
    counts = np.stack([rng.multinomial(20, share, 60) for share in rng.dirichlet([2, 1, 3], 3)], axis=1)
    hits, misses, points = counts[..., 0], counts[..., 1], np.full((60, 3), 20)
    weights = np.array([0.3, 0.5, 0.2])
    for wrong in (misses, 20 - hits):
        low, high = share_interval(hits, wrong, points, weights)
        for value in (0.2, 0.4, 0.6, 0.8):
            held = share_accepted(value, hits, wrong, points, weights)
            assert held.tolist() == ((low <= value) & (value <= high)).tolist()


def test_hits_and_misses_mirror():
    hits, points, weights = np.array([3, 10]), np.array([20, 12]), np.array([0.7, 0.3])
    low, high = share_interval(hits, points - hits, points, weights)
    mirrored = share_interval(points - hits, hits, points, weights)
    assert [1 - float(v) for v in mirrored[::-1]] == pytest.approx([float(low), float(high)])


@pytest.mark.parametrize("points", [20, 50])
@pytest.mark.parametrize(
    "shares",
    [(0.9, 0.8, 0.95), (0.6, 0.01, 0.004), (0.5, 0.5, 0.5)],
    ids=["accuracy", "area of a rare class", "even"],
)
def test_coverage_of_means(points, shares):
    rng = np.random.default_rng(points)
    draws, weights = 2000, np.array([0.05, 0.35, 0.6])
    hits = rng.binomial(points, shares, (draws, 3))
    size = np.full(hits.shape, points)
    held = share_accepted(float(weights @ shares), hits, size - hits, size, weights).mean()
    assert held >= least_share(draws)


@pytest.mark.parametrize("make", [users, producers, iou])
def test_coverage_of_ratios(make):
    rng = np.random.default_rng(7)
    draws, sizes = 1000, np.array([1.0, 4.0, 15.0])
    shares = np.array([[0.80, 0.15, 0.05], [0.05, 0.85, 0.10], [0.004, 0.05, 0.946]])
    matrix = np.stack([rng.multinomial(60, row, draws) for row in shares], axis=1)
    sample = SampleCounts.of_map_classes(matrix, sizes)
    known = SampleCounts.of_map_classes(shares[None] * 1e9, sizes)
    real = ratio(make(known), known)[0][0]
    quantities = make(sample)
    for k in range(3):
        weights = np.where(quantities.possible[k], sample.weights, 0)
        hits, misses = (np.where(weights > 0, part[:, k], 0) for part in (quantities.hits, quantities.misses))
        held = share_accepted(float(real[k]), hits, misses, sample.points, weights).mean()
        assert held >= least_share(draws)


def test_a_map_that_overstates_a_rare_class_is_exposed():
    """The true share is 1.5 %, the map says 3 %.

    In 90 of 100 campaigns the interval holds the true area. With 400 points the median interval excludes the mapped area.
    """
    rng = np.random.default_rng(3)
    points = np.array(allocate(400, [30_000, 970_000], minimum=[50, 50]))  # as `c2seg sample` divides them
    shares = (0.48, 0.0006 / 0.97)  # of what is mapped rare, and of the rest: 1.44 % + 0.06 % of the area
    hits = np.stack([rng.binomial(n, p, 100) for n, p in zip(points, shares, strict=True)], axis=1)
    sample = SampleCounts.of_map_classes(np.stack([hits, points - hits], axis=-1), [3.0, 97.0])
    result = estimate(areas(sample), sample)
    low, high = result.low[:, 0], result.high[:, 0]
    assert ((low <= 0.015) & (high >= 0.015)).sum() >= 90
    assert np.median(low) < 0.015 < np.median(high) < 0.03


@pytest.mark.parametrize("share", [(0.1, 0.05), (0.3, 0.2)])
def test_coverage_of_differences(share):
    rng = np.random.default_rng(2)
    draws, weights = 2000, np.array([0.3, 0.7])
    kinds = rng.multinomial(40, [*share, 1 - sum(share)], (draws, 2))
    low, high = difference_interval(kinds[..., 0], kinds[..., 1], np.full((draws, 2), 40), weights)
    real = share[0] - share[1]
    assert ((low <= real) & (real <= high)).mean() >= least_share(draws, 0.94)


def test_two_maps_on_the_same_points():
    rng = np.random.default_rng(0)
    stratum = rng.integers(0, 2, 200)
    first = rng.random(200) < 0.85
    second = np.where(rng.random(200) < 0.1, ~first, first)
    result = paired_difference(first, second, stratum, np.array([0.6, 0.4]))
    by_hand = sum(w * (first[stratum == h].mean() - second[stratum == h].mean()) for h, w in enumerate((0.6, 0.4)))
    assert result.value == pytest.approx(by_hand)
    assert result.low < result.value < result.high
    assert result.p_value == binomtest(result.only_first, result.only_first + result.only_second).pvalue
    same = paired_difference(first, first, stratum, np.array([0.6, 0.4]))
    assert (same.value, same.only_first, same.p_value) == (0, 0, 1)
    assert same.low < 0 < same.high


def test_classes_and_strata_at_the_edge():
    """A class that is never drawn, a stratum of one point, an empty one, a class without area."""
    counts = np.zeros((4, 3, 3), np.int64)
    counts[0, 0, 0] = 30
    counts[1, 1, 1] = 1
    sample = SampleCounts.of(counts, [70, 20, 10, 0])
    result = estimate(stack([overall(sample), areas(sample), producers(sample)]), sample)
    assert result.value[:4].tolist() == pytest.approx([1, 70 / 90, 20 / 90, 0])
    assert np.isnan(result.value[6])
    assert (result.low[6], result.high[6]) == (0, 1)
    assert sample.unsampled == pytest.approx(0.1)
    # A tenth of the area was never looked at: nothing is said of it.
    assert result.low[0] < 0.9 * 0.97
    assert result.high[1] > 0.1 + 0.9 * 70 / 90
    assert ((result.low <= result.high) & (result.low >= 0) & (result.high <= 1)).all()


def test_few_points_of_a_class_are_joined():
    matrix = np.array([[40, 2, 0], [1, 50, 3], [0, 0, 1]])
    sample = SampleCounts.of_map_classes(matrix, [500, 490, 10])
    merged = sample.merged()
    assert merged.pixels.tolist() == [500, 500]
    assert merged.points.tolist() == [42, 55]
    assert merged.possible.tolist() == [[True, False, False], [False, True, True]]
    assert merged.matrix.tolist() == matrix.tolist()


def test_undecided_points_widen_the_limits():
    unknown = np.array([[5, 0], [0, 0]])
    counts = SampleCounts.of_map_classes(np.array([[40, 5], [5, 50]]), [1, 1])
    sample = SampleCounts.of(counts.counts, counts.pixels, unknown=unknown, possible=counts.possible)
    result = estimate(stack([overall(sample), users(sample), producers(sample)]), sample)
    assert (result.worst_low <= result.low).all()
    assert (result.worst_high >= result.high).all()
    assert result.worst_low[0] < result.low[0]
    assert result.worst_high[0] > result.high[0]
    # All five wrong: 85 of 100 with five more misses in the first stratum.
    worst = SampleCounts.of_map_classes(np.array([[40, 10], [5, 50]]), [1, 1])
    assert result.worst_low[0] == pytest.approx(float(estimate(overall(worst), worst).low[0]))
    assert (result.low[2], result.high[2]) == (
        result.worst_low[2],
        result.worst_high[2],
    )  # nothing undecided is mapped so
