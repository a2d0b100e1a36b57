"""Intervals and paired comparison: right coverage on data of known spread, and exact in degenerate cases."""

import numpy as np
import pytest

from c2seg.errors import InputError
from c2seg.metrics import Confusion, bootstrap_scores, compare_maps, compare_pooled, confusion_counts, scores

IDS = (1, 2)


def blocks_of(accuracies, pixels=100):
    right = [round(a * pixels) for a in accuracies]
    return [Confusion(IDS, np.array([[r, pixels - r, 0], [pixels - r, r, 0]], np.int64)) for r in right]


def test_standard_deviation_is_that_of_a_mean_of_blocks():
    accuracies = np.random.default_rng(0).normal(0.7, 0.1, 200).clip(0, 1).round(2)
    intervals = bootstrap_scores(blocks_of(accuracies), replicates=2000)
    oa = intervals["oa"]
    assert oa.value == pytest.approx(accuracies.mean())
    assert oa.sd == pytest.approx(accuracies.std() / np.sqrt(200), rel=0.1)
    assert (oa.low, oa.high) == pytest.approx((oa.value - 1.96 * oa.sd, oa.value + 1.96 * oa.sd), abs=0.1 * oa.sd)


def test_interval_covers_the_reference_about_as_often_as_it_says():
    rng = np.random.default_rng(11)
    hits = 0
    for trial in range(100):
        oa = bootstrap_scores(blocks_of(rng.beta(7, 3, 60).round(2)), replicates=200, seed=trial)["oa"]
        hits += oa.low <= 0.7 <= oa.high
    assert 86 <= hits <= 99  # the percentile interval of 60 skewed blocks covers 92 % in the long run


def test_equal_blocks_have_no_spread_and_unlabeled_ones_do_not_count():
    blocks = [*blocks_of([0.8] * 5), Confusion.empty(IDS), Confusion.empty(IDS)]
    intervals = bootstrap_scores(blocks, replicates=100)
    assert (intervals["oa"].low, intervals["oa"].high, intervals["oa"].sd) == pytest.approx((0.8, 0.8, 0))
    assert len(intervals["iou"]) == 2
    with pytest.raises(InputError, match="at least 2 blocks"):
        bootstrap_scores([*blocks_of([0.8]), Confusion.empty(IDS)])


def test_same_seed_same_numbers():
    blocks = blocks_of([0.2, 0.5, 0.9, 0.4])
    assert bootstrap_scores(blocks, seed=3) == bootstrap_scores(blocks, seed=3)
    assert bootstrap_scores(blocks, seed=3) != bootstrap_scores(blocks, seed=4)


def test_pairing_sees_what_single_intervals_cannot():
    rng = np.random.default_rng(2)
    first = rng.uniform(0.3, 0.9, 80).round(2)
    second = (first - 0.02 + rng.choice([-0.01, 0.01], 80)).round(2)
    a, b = blocks_of(first), blocks_of(second)
    wide = bootstrap_scores(a)["oa"]
    compared = compare_maps(a, b)["oa"]
    assert compared.difference.value == pytest.approx(0.02, abs=0.003)
    assert compared.difference.low > 0.01
    assert compared.p_value < 0.01
    assert wide.high - wide.low > 10 * (compared.difference.high - compared.difference.low)


def test_equal_maps_do_not_differ():
    blocks = blocks_of([0.2, 0.5, 0.9, 0.4])
    compared = compare_maps(blocks, blocks)
    assert compared["miou"].difference.value == 0
    assert compared["miou"].p_value == 1.0


def test_refuses_blocks_of_another_reference():
    with pytest.raises(InputError, match="cannot be paired"):
        compare_maps(blocks_of([0.5, 0.6]), blocks_of([0.5, 0.6], pixels=200))
    with pytest.raises(InputError, match="cannot be paired"):
        compare_maps(blocks_of([0.5, 0.6]), blocks_of([0.5]))


def test_a_class_that_a_replicate_loses_leaves_its_mean():
    rare = Confusion(IDS, np.array([[10, 0, 0], [0, 10, 0]], np.int64))
    common = Confusion(IDS, np.array([[10, 0, 0], [0, 0, 0]], np.int64))
    intervals = bootstrap_scores([rare, common, common], replicates=300)
    assert intervals["miou"].low == intervals["miou"].high == scores(rare).miou == 1.0


def runs(rng, offset, pairs=4, seeds=2, blocks=30):
    """Counts of two methods by pair, seed and block; the first is right more often by ``offset``."""
    found = []
    for _ in range(pairs):
        reference = [rng.integers(1, 4, 200).astype(np.uint8) for _ in range(blocks)]
        found.append(
            [
                [
                    confusion_counts(t, np.where(rng.random(200) < 0.5 + offset, t, 1).astype(np.uint8), (1, 2, 3))
                    for t in reference
                ]
                for _ in range(seeds)
            ]
        )
    return found


def test_pooled_difference_over_pairs_seeds_and_blocks():
    better, worse = runs(np.random.default_rng(0), 0.1), runs(np.random.default_rng(0), 0.0)
    found, by_pair = compare_pooled(better, worse)
    one = [
        scores(sum(a[1:], a[0])).miou - scores(sum(b[1:], b[0])).miou
        for p, q in zip(better, worse, strict=True) for a, b in zip(p, q, strict=True)
    ]  # fmt: skip
    assert found.difference.value == pytest.approx(np.mean(one))
    assert by_pair == pytest.approx(np.reshape(one, (4, 2)).mean(axis=1))
    assert 0 < found.difference.low < found.difference.value < found.difference.high
    assert found.p_value < 0.01
    same, _ = compare_pooled(better, runs(np.random.default_rng(0), 0.1))
    assert same.difference.low <= 0 <= same.difference.high
    with pytest.raises(InputError, match="same pairs"):
        compare_pooled(better, worse[:3])


def test_one_bad_pair_of_few_widens_the_pooled_interval():
    """Pairs are units: three that win a little and one that loses much leave the sign open."""
    rng = np.random.default_rng(3)
    first = [*runs(rng, 0.05, pairs=3), *runs(np.random.default_rng(9), -0.3, pairs=1)]
    second = [*runs(np.random.default_rng(3), 0.0, pairs=3), *runs(np.random.default_rng(9), 0.1, pairs=1)]
    found, by_pair = compare_pooled(first, second)
    assert min(by_pair) < -0.1
    assert found.difference.low < 0 < found.difference.high
