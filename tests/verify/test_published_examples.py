"""The worked examples of the papers, and the figures that other implementations print for them."""

from __future__ import annotations

import numpy as np
import pytest

from c2seg.verify.estimators import areas, iou, overall, producers, ratio, users
from c2seg.verify.matrix import SampleCounts, count_points
from c2seg.verify.planning import points_for_half_width, quantile

Z = quantile(0.95)


def olofsson_2014() -> SampleCounts:
    """Table 8 of Olofsson et al. (2014): deforestation, forest gain, stable forest, stable non-forest."""
    matrix = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
    return SampleCounts.of_map_classes(matrix, [200_000, 150_000, 3_200_000, 6_450_000])


def stehman_2014(*, finite: bool) -> SampleCounts:
    """The 40 points of Stehman (2014), in four strata that differ from the map's classes."""
    stratum = np.repeat(np.arange(4), 10)
    mapped = np.array([0] * 7 + [1] * 3 + [0] + [1] * 11 + [2] * 6 + [1] * 2 + [3] * 10)
    reference = np.array(
        [0] * 5 + [2, 1, 0, 1, 2, 0] + [1] * 5 + [0, 0, 1, 1] + [2] * 5 + [3, 3, 1, 1, 0] + [3] * 7 + [2, 2, 1]
    )
    counts = count_points(stratum, mapped, reference, 4, 4)
    return SampleCounts.of(counts, [40_000, 30_000, 20_000, 10_000], finite=finite)


def test_olofsson_2014_accuracies():
    sample = olofsson_2014()
    value, se = ratio(overall(sample), sample)
    assert (round(value[0], 2), round(Z * se[0], 2)) == (0.95, 0.02)
    value, se = ratio(users(sample), sample)
    assert value.round(2).tolist() == [0.88, 0.73, 0.93, 0.96]
    assert (Z * se).round(2).tolist() == [0.07, 0.10, 0.04, 0.02]
    value, se = ratio(producers(sample), sample)
    assert value.round(2).tolist() == [0.75, 0.85, 0.93, 0.96]
    assert (Z * se).round(2)[[0, 2]].tolist() == [0.21, 0.03]


def test_olofsson_2014_areas():
    sample = olofsson_2014()
    value, se = ratio(areas(sample), sample)
    pixels = sample.pixels.sum()
    assert round(value[0] * pixels) == 235_086
    assert round(1.96 * se[0] * pixels) == pytest.approx(68_418, abs=1)
    hectares = value * pixels * 900 / 10_000
    assert hectares[0] == pytest.approx(21_158, abs=0.5)
    assert 1.96 * se[0] * pixels * 0.09 == pytest.approx(6_158, abs=0.5)


def test_olofsson_2014_sample_size():
    # Section 5.1.1: standard error 0.01 of overall accuracy, anticipated user's accuracies 0.70, 0.60, 0.90, 0.95.
    points = points_for_half_width(
        0.01 * Z, population=[200_000, 150_000, 3_200_000, 6_450_000], accuracy=[0.7, 0.6, 0.9, 0.95]
    )
    assert points == 641


def test_olofsson_2013_example_1():
    # As documented of mapaccuracy::olofsson: table 4 of Olofsson et al. (2013).
    sample = SampleCounts.of_map_classes(np.array([[97, 0, 3], [3, 279, 18], [2, 1, 97]]), [22_353, 1_122_543, 610_228])
    value, se = ratio(areas(sample), sample)
    pixels = sample.pixels.sum()
    assert value[0] * pixels == pytest.approx(45_112, abs=1)
    assert [round(v, 2) for v in ratio(users(sample), sample)[0]] == [0.97, 0.93, 0.97]
    assert [round(v, 4) for v in ratio(producers(sample), sample)[0]] == [0.4806, 0.9942, 0.8969]
    assert [round(v[0], 4) for v in ratio(overall(sample), sample)] == [0.9444, 0.0112]
    assert se[0] * pixels == pytest.approx(10_751, abs=1)


def test_olofsson_2013_example_2():
    # Table 6: shares of the area are given in place of pixels.
    matrix = np.array([[127, 66, 54], [2, 322, 17], [0, 15, 540]])
    sample = SampleCounts.of_map_classes(matrix, [0.007, 0.295, 0.698])
    assert ratio(users(sample), sample)[0].round(2).tolist() == [0.51, 0.94, 0.97]
    assert ratio(overall(sample), sample)[0].round(2).tolist() == [0.96]


@pytest.mark.parametrize("finite", [False, True])
def test_stehman_2014(finite):
    """Pages 4932 to 4936 of the paper print three digits."""
    sample = stehman_2014(finite=finite)
    area, area_se = ratio(areas(sample), sample)
    assert area[[0, 2]].round(2).tolist() == [0.35, 0.20]
    assert area_se[[0, 2]].round(3).tolist() == [0.082, 0.064]
    value, se = ratio(overall(sample), sample)
    assert (round(value[0], 2), round(se[0], 3)) == (0.63, 0.085)
    assert [round(v[1], 3) for v in ratio(users(sample), sample)] == [0.574, 0.125]
    assert round(ratio(producers(sample), sample)[0][1], 3) == 0.794
    assert sample.proportions[1, 2] == pytest.approx(0.08)


def test_stehman_2014_as_mapaccuracy_prints_it():
    """With the finite population correction, as R's mapaccuracy; the paper, rounding in between, prints 0.114 for the last."""
    sample = stehman_2014(finite=True)
    assert ratio(areas(sample), sample)[1][[0, 2]].round(6).tolist() == [0.082248, 0.064280]
    assert ratio(overall(sample), sample)[1].round(6).tolist() == [0.084642]
    assert ratio(users(sample), sample)[1][1].round(6) == 0.124782
    assert ratio(producers(sample), sample)[1][1].round(6) == 0.116548


def test_stehman_2014_as_mapac_prints_it():
    """Without it, as R's mapac."""
    sample = stehman_2014(finite=False)
    assert sample.proportions.round(2).tolist() == [
        [0.23, 0.04, 0.04, 0.0],
        [0.12, 0.27, 0.08, 0.0],
        [0.0, 0.02, 0.06, 0.04],
        [0.0, 0.01, 0.02, 0.07],
    ]
    value, se = ratio(users(sample), sample)
    assert value[:3].round(7).tolist() == [0.7419355, 0.5744681, 0.5]
    assert se[:3].round(7).tolist() == [0.1645627, 0.1248023, 0.2151657]
    value, se = ratio(producers(sample), sample)
    assert value[:3].round(7).tolist() == [0.6571429, 0.7941176, 0.3]
    assert se[:3].round(7).tolist() == [0.1477318, 0.1165671, 0.1504438]
    union = ratio(iou(sample), sample)[0]
    assert (2 * union / (1 + union))[:3].round(7).tolist() == [0.6969697, 0.6666667, 0.375]


def test_the_standard_error_of_f1_is_that_of_repeated_samples():
    """F1 has the linearized variance, with the covariance of user's and producer's accuracy."""
    rng = np.random.default_rng(0)
    shares = np.array([[0.80, 0.15, 0.05], [0.10, 0.80, 0.10], [0.02, 0.08, 0.90]])
    matrix = np.stack([rng.multinomial(150, row, 4000) for row in shares], axis=1)
    sample = SampleCounts.of_map_classes(matrix, [2.0, 3.0, 5.0])
    union, se = ratio(iou(sample), sample)
    f1 = 2 * union / (1 + union)
    assert (2 * se / (1 + union) ** 2).mean(0) == pytest.approx(f1.std(0), rel=0.05)


def test_strata_of_the_mapped_class_are_a_case_of_other_strata():
    sample = olofsson_2014()
    general = SampleCounts.of(sample.counts, sample.pixels)  # as if nothing was known of what strata hold
    for make in (overall, areas, users, producers, iou):
        for one, other in zip(ratio(make(sample), sample), ratio(make(general), general), strict=True):
            assert one == pytest.approx(other)
