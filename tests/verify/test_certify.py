"""What is called shown is shown: exact limits, valid over strata, corrected for several tests."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, chi2, hypergeom

from c2seg.errors import InputError
from c2seg.verify.certify import adjusted_p_values, check_settings, share_limit, share_p_value

MANY = 10**7


def test_the_classic_numbers():
    # 29 right points show at most 10 % wrong with 95 %, 28 do not; 59 show 5 %.
    assert share_p_value([0], [29], [MANY], 0.1) <= 0.05 < share_p_value([0], [28], [MANY], 0.1)
    assert share_limit([0], [59], [MANY], 0.05) == pytest.approx(0.05, abs=0.001)


def test_one_stratum_is_hypergeometric():
    pixels, points, wrong, alpha = 120, 40, 2, 0.1
    assert share_p_value([wrong], [points], [pixels], alpha) == hypergeom.cdf(wrong, pixels, 13, points)
    assert share_p_value([0], [120], [120], 0.001) == 0  # all pixels were seen
    limit = share_limit([wrong], [points], [pixels], 0.05)
    assert share_p_value([wrong], [points], [pixels], limit) <= 0.05
    assert share_p_value([wrong], [points], [pixels], limit - 1.01 / pixels) > 0.05


def test_the_worst_division_over_strata_counts():
    wrong, points, weights = np.array([1, 2]), np.array([20, 30]), np.array([0.3, 0.7])
    first = np.linspace(0, 0.5, 4001)
    second = (0.15 - 0.3 * first) / 0.7
    logs = [binom.logcdf(x, n, p) for x, n, p in zip(wrong, points, (first, second), strict=True)]
    worst = chi2.sf(-2 * (logs[0] + logs[1]), 4)[(second >= 0) & (second <= 1)].max()
    assert share_p_value(wrong, points, weights * MANY, 0.15) == pytest.approx(worst, rel=1e-4)
    limit = share_limit(wrong, points, weights * MANY, worst)
    assert limit == pytest.approx(0.15, abs=1e-4)


def test_mistakes_are_as_rare_as_stated():
    """All outcomes of two strata: with more than alpha wrong the test says otherwise in at most delta of the cases."""
    points, alpha = (6, 8), 0.4
    outcomes = [(x, y) for x in range(4) for y in range(5)]  # of more wrong points nothing is shown
    p_values = np.array([share_p_value(pair, points, [MANY, 2 * MANY], alpha) for pair in outcomes])
    assert p_values.min() < 0.02
    for delta in (0.05, 0.1, 0.3):
        shown = [pair for pair, p_value in zip(outcomes, p_values, strict=True) if p_value <= delta]
        for first in np.linspace(0, 0.9, 31):
            second = (3 * alpha - first) / 2
            mistakes = sum(binom.pmf(x, 6, first) * binom.pmf(y, 8, second) for x, y in shown)
            assert mistakes <= delta + 1e-9


def test_what_was_not_seen_is_not_shown():
    assert share_p_value([], [], [], 0.5) == 1
    assert share_p_value([0], [0], [100], 0.5) == 1
    assert share_limit([0], [0], [100], 0.05) == 1
    assert share_p_value([0, 0], [100, 0], [900, 200], 0.1) == 1  # the second may be wrong altogether
    assert share_limit([0, 0], [100, 0], [900_000, 100_000], 0.05) == pytest.approx(0.1 + 0.9 * 0.0295, abs=1e-3)
    assert share_limit([5], [5], [100], 0.05) == pytest.approx(1)


def test_corrections():
    p_values = [0.01, 0.04, 0.03, 0.5]
    assert adjusted_p_values(p_values, "none") == p_values
    assert adjusted_p_values(p_values, "bonferroni") == pytest.approx([0.04, 0.16, 0.12, 1.0])
    assert adjusted_p_values(p_values, "holm") == pytest.approx([0.04, 0.09, 0.09, 0.5])


@pytest.mark.parametrize(
    ("settings", "says"),
    [((0, 0.05, "holm"), "alpha"), ((0.1, 0, "holm"), "delta"), ((0.1, 0.05, "tukey"), "correction 'tukey'")],
)
def test_settings_out_of_range(settings, says):
    with pytest.raises(InputError, match=says):
        check_settings(*settings)
