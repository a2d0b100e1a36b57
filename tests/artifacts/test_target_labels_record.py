"""What records say of the pixels that were trained on."""

from __future__ import annotations

import numpy as np

from c2seg.artifacts.target_labels import SceneSpans, TargetLabelsRecord, spans_of
from c2seg.types import Window


def record(guard, spans):
    return TargetLabelsRecord(
        file="l.csv", digest="d", city="c", labels={"a": 1}, pixels=4, guard_px=guard,
        scenes=(SceneSpans(scene="s", spans=spans),),
    )  # fmt: skip


def test_spans_are_runs_along_rows():
    rows, cols = np.array([3, 1, 1, 1]), np.array([9, 5, 4, 7])
    assert spans_of(rows, cols) == ((1, 4, 2), (1, 7, 1), (3, 9, 1))
    assert spans_of(rows[:0], cols[:0]) == ()


def test_mask_and_near_are_what_a_square_around_every_pixel_covers():
    rng = np.random.default_rng(0)
    rows, cols = rng.integers(0, 40, 30), rng.integers(0, 50, 30)
    labels = record(3, spans_of(rows, cols))
    expected = np.zeros((40, 50), bool)
    for row, col in zip(rows, cols, strict=True):
        expected[max(0, row - 3) : row + 4, max(0, col - 3) : col + 4] = True
    window = Window(5, 7, 20, 30)
    np.testing.assert_array_equal(labels.mask("s", window), expected[window.slices])
    every = np.indices(expected.shape).reshape(2, -1)
    np.testing.assert_array_equal(labels.near(None, *every), expected.ravel())
