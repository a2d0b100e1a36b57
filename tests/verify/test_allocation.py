"""How many points each stratum gets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2seg.errors import InputError
from c2seg.verify.allocation import allocate, anticipated_accuracy, minimum_points


@given(st.lists(st.integers(2, 10**7), min_size=1, max_size=30), st.sampled_from(["neyman", "proportional", "equal"]),
       st.integers(0, 5000), st.integers(0, 60))  # fmt: skip
def test_sums_and_bounds_hold(pixels, how, extra, minimum):
    least = int(np.minimum(np.maximum(2, minimum), pixels).sum())
    points = min(least + extra, sum(pixels))
    result = allocate(points, pixels, None, how, [minimum] * len(pixels))
    assert result.sum() == points
    assert (result <= pixels).all()
    assert (result >= np.minimum(np.maximum(2, minimum), pixels)).all()


def test_neyman_of_the_literature():
    # Olofsson et al. (2014), section 5.1.1: 641 points, strata of 200000, 150000, 3200000, 6450000 pixels.
    pixels = np.array([200_000, 150_000, 3_200_000, 6_450_000])
    right = np.array([0.70, 0.60, 0.90, 0.95])
    share = pixels * np.sqrt(right * (1 - right))
    assert allocate(641, pixels, right, "neyman").tolist() == pytest.approx(641 * share / share.sum(), abs=1)
    assert allocate(641, pixels, right, "proportional").tolist() == [13, 10, 205, 413]  # their table 5
    assert allocate(640, pixels, right, "equal").tolist() == [160] * 4


def test_too_few_and_too_many():
    with pytest.raises(InputError, match="3 points are too few: 2 strata need at least 4"):
        allocate(3, [10, 10])
    with pytest.raises(InputError, match="21 points are more than the 20 pixels"):
        allocate(21, [10, 10])
    with pytest.raises(InputError, match="unknown allocation 'even'"):
        allocate(4, [10, 10], None, "even")


def test_minimum_of_a_class_is_divided_among_its_strata():
    pixels, classes = np.array([300, 100, 1000, 4]), np.array([0, 0, 1, 2])
    least, minimum = minimum_points(400, pixels, classes, 40)
    assert least == 40
    assert minimum.tolist() == [30, 10, 40, 4]
    assert minimum_points(400, pixels, classes, None)[0] == 50
    assert minimum_points(90, pixels, classes, None)[0] == 15


def test_anticipated_accuracy_stays_within_bounds():
    assert anticipated_accuracy(None, 2).tolist() == [0.8, 0.8]
    assert anticipated_accuracy(np.array([0.1, 0.99, np.nan]), 3).tolist() == [0.5, 0.95, 0.8]
