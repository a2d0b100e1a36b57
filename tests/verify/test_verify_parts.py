"""Interpreters' agreement, prediction-powered means, plans of samples, the table of coverage."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from c2seg.errors import InputError
from c2seg.verify.agreement import agreement, cohens_kappa, fleiss_kappa
from c2seg.verify.coverage import coverage_of, coverage_warnings
from c2seg.verify.estimators import areas, estimate
from c2seg.verify.matrix import SampleCounts
from c2seg.verify.planning import more_points, points_for_half_width
from c2seg.verify.ppi import predicted_means

BENCHMARK = Path(__file__).parents[2] / "benchmarks/coverage.json"


def test_agreement_of_interpreters():
    anna = np.array([1, 1, 2, 2, 3, 0, 255, 1], np.uint8)
    bert = np.array([1, 2, 2, 2, 3, 1, 1, 1], np.uint8)
    result = agreement([anna, bert])
    assert (result.points, result.percent, result.disputed) == (6, 5 / 6, (1,))
    assert result.kappa == cohens_kappa(anna[[0, 1, 2, 3, 4, 7]], bert[[0, 1, 2, 3, 4, 7]])
    assert agreement([anna]) is None
    assert agreement([]) is None
    assert agreement([np.array([1, 0], np.uint8), np.array([0, 2], np.uint8)]) is None


def test_kappas_are_those_of_statsmodels():
    raters = pytest.importorskip("statsmodels.stats.inter_rater")
    rng = np.random.default_rng(0)
    first = rng.integers(1, 4, 90)
    others = [np.where(rng.random(90) < 0.7, first, rng.integers(1, 4, 90)) for _ in range(2)]
    votes = np.stack([sum((labels == k).astype(int) for labels in (first, *others)) for k in (1, 2, 3)], axis=1)
    assert fleiss_kappa(votes) == pytest.approx(raters.fleiss_kappa(votes))
    table = np.array([[((first == i) & (others[0] == j)).sum() for j in (1, 2, 3)] for i in (1, 2, 3)])
    assert cohens_kappa(first, others[0]) == pytest.approx(raters.cohens_kappa(table).kappa)
    assert cohens_kappa(np.ones(5), np.ones(5)) is None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tuning", [0.0, 0.6, 1.0])
def test_predicted_means_are_those_of_ppi_python(tuning):
    ppi = pytest.importorskip("ppi_py")
    rng = np.random.default_rng(1)
    points, pixels = 400, 400_000
    probability = rng.beta(0.5, 1.5, points + pixels)
    label = (rng.random(points + pixels) < 0.8 * probability + 0.05).astype(float)
    y, f, rest = label[:points], probability[:points], probability[points:]
    low, high = ppi.ppi_mean_ci(y, f, rest, alpha=0.05, lam=tuning)
    ours = predicted_means(
        y[:, None].astype(int), f[:, None], np.zeros(points, int), np.ones(1), rest.mean()[None], tuning=tuning
    )
    assert [ours.low[0], ours.high[0]] == pytest.approx([low[0], high[0]], abs=3e-4)


def test_predictions_make_intervals_narrower_and_never_count_against():
    rng = np.random.default_rng(2)
    probability = rng.beta(0.4, 1.2, 50_000)
    label = rng.random(50_000) < probability
    chosen = rng.integers(0, 50_000, 400)
    args = label[chosen, None].astype(int), probability[chosen, None], np.zeros(400, int), np.ones(1)
    good = predicted_means(*args, probability.mean()[None])
    without = predicted_means(*args, probability.mean()[None], tuning=0.0)
    assert good.se[0] < 0.9 * without.se[0]
    assert good.tuning[0] > 0.5
    useless = predicted_means(args[0], rng.random((400, 1)), *args[2:], np.array([0.5]))
    assert useless.se[0] <= without.se[0] * 1.001
    assert without.value[0] == pytest.approx(label[chosen].mean())


def test_predicted_means_by_strata_without_predictions_are_stratified_means():
    labels = np.array([[1], [0], [1], [1], [0], [1]] * 12)
    stratum = np.array([0, 0, 0, 1, 1, 1] * 12)
    result = predicted_means(labels, np.zeros((72, 1)), stratum, np.array([3.0, 1.0]), np.zeros(1))
    sample = SampleCounts.of(np.array([[[24, 12], [0, 0]], [[24, 12], [0, 0]]]), [3, 1])
    expected = estimate(areas(sample), sample)
    assert result.value[0] == pytest.approx(expected.value[0])
    assert result.se[0] == pytest.approx(expected.se[0])
    few = predicted_means(labels[:12], np.zeros((12, 1)), stratum[:12], np.array([3.0, 1.0]), np.zeros(1))
    assert np.isnan(few.value[0])


def test_plans():
    settings = {"population": [1000, 9000], "accuracy": [0.5, 0.9]}
    plans = {
        how: points_for_half_width(0.05, allocation=how, **settings) for how in ("neyman", "proportional", "equal")
    }
    assert plans["neyman"] < plans["proportional"] < plans["equal"]
    # One stratum, p (1 - p) (1.96 / W)^2 with the finite population correction.
    assert points_for_half_width(0.03, population=[10**9], accuracy=[0.85]) == 545
    assert points_for_half_width(0.03, population=[100], accuracy=[0.85]) < 100
    assert more_points(400, 0.02, 0.02) == 400 * 1.959964**2 // 1 + 1 - 400
    assert more_points(400, 0.001, 0.02) == 0
    with pytest.raises(InputError, match="`half_width` must be between"):
        points_for_half_width(0.6, **settings)
    with pytest.raises(InputError, match="allocation 'even'"):
        points_for_half_width(0.1, allocation="even", **settings)


def test_the_table_of_coverage():
    assert coverage_of(100, 0.5) == coverage_of(100, 0.5)
    assert coverage_of(30, 0.005)[1] < 0.5
    assert coverage_of(800, 0.3)[1] > 0.93
    matrix = np.array([[30, 1], [2, 30]])
    sample = SampleCounts.of_map_classes(matrix, [99, 1])
    assert coverage_warnings(["a", "b"], estimate(areas(sample), sample), 0.95)[0].startswith(
        "few points: plus or minus 1.96 standard errors would hold in fewer than 90 of 100 samples"
    )
    many = SampleCounts.of_map_classes(matrix * 20, [50, 50])
    assert coverage_warnings(["a", "b"], estimate(areas(many), many), 0.95) == ()


def test_what_the_benchmark_measured():
    """The committed result keeps what docs/accuracy.md says."""
    result = json.loads(BENCHMARK.read_text())
    assert result["draws"] == 10_000
    measured = [value for case in result["cases"] for values in case["interval"].values() for value in values]
    assert min(measured) >= 0.94
    assert min(min(row) for row in result["table"]["interval"]) >= 0.94
    assert {(case["design"], case["points"]) for case in result["cases"]} == {
        (design, points) for design in ("stratified", "random", "systematic") for points in (50, 100, 200, 400, 800)
    }
