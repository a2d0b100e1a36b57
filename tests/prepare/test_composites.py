"""Several dates to one image."""

from __future__ import annotations

import numpy as np
import pytest

from c2seg.prepare.composites import best, median
from c2seg.products import Warped


def dates(count, seed=0):
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        valid = rng.random((90, 70)) < 0.6
        made.append(Warped((rng.random((3, 90, 70)) * valid).astype(np.float32), valid))
    return made


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_median_is_that_of_the_valid_dates(count):
    made = dates(count)
    values, valid = median(made)
    stack = np.stack([np.where(date.valid, date.values, np.nan) for date in made])
    assert np.array_equal(valid, np.any([date.valid for date in made], axis=0))
    assert not values[:, ~valid].any()
    assert np.allclose(values[:, valid], np.nanmedian(stack[:, :, valid], axis=0), atol=1e-7)


def test_best_is_the_first_valid_date_with_all_its_bands():
    made = dates(4)
    values, valid = best(iter(made))
    first = np.argmax([date.valid for date in made], axis=0)
    expected = np.take_along_axis(np.stack([date.values for date in made]), first[None, None], 0)[0]
    assert np.array_equal(values, expected * valid)


def test_best_reads_no_more_dates_than_it_needs():
    whole = Warped(np.ones((1, 4, 4), np.float32), np.ones((4, 4), bool))

    def endless():
        while True:
            yield whole

    assert best(endless()).valid.all()
