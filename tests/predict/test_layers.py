"""What is decided from blended scores, against plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2seg.legend import LandClass, Legend
from c2seg.predict.engine import Strip
from c2seg.predict.layers import decide

NAMES = ("confidence", "runner_up", "probabilities")


def legend(classes):
    return Legend("some", tuple(LandClass(3 * k + 2, f"class {k}", "#0000FF") for k in range(classes)))


@given(
    classes=st.integers(2, 13), rows=st.integers(1, 40), width=st.integers(1, 9), levels=st.integers(1, 5),
    seed=st.integers(0, 999),
)  # fmt: skip
def test_layers_are_those_of_the_sorted_scores(classes, rows, width, levels, seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels + 1, (classes, rows, width)).astype(np.float32) / levels / 2  # many ties
    valid = rng.random((rows, width)) < 0.8
    weights = rng.uniform(0.5, 2, rows).astype(np.float32), rng.uniform(0.5, 2, width).astype(np.float32)
    sums = scores * weights[0][:, None] * weights[1]
    ids = np.array(legend(classes).ids)
    layers, counts = decide(Strip(0, 0, rows, sums, valid, *weights), legend(classes), NAMES)
    order = np.argsort(-sums, axis=0, kind="stable")  # the lowest class wins a tie
    np.testing.assert_array_equal(layers["ids"], np.where(valid, ids[order[0]], 0))
    np.testing.assert_array_equal(layers["runner_up"][:, 0], np.where(valid, ids[order[1]], 255))
    np.testing.assert_array_equal(counts, np.bincount(layers["ids"].ravel(), minlength=256))
    first, runner_up = (np.take_along_axis(scores, order[k : k + 1], axis=0)[0] for k in (0, 1))
    for found, expected in (
        (layers["confidence"], first), (layers["runner_up"][:, 1], first - runner_up),
        (layers["probabilities"].transpose(1, 0, 2), scores),
    ):  # fmt: skip
        assert (found[..., ~valid] == 255).all()
        assert np.abs(found[..., valid].astype(float) - expected[..., valid] * 200).max(initial=0) <= 0.501


def test_only_the_layers_that_are_asked_for_are_made():
    strip = Strip(0, 0, 2, np.ones((3, 2, 2), np.float32), np.ones((2, 2), bool))
    assert set(decide(strip, legend(3), ())[0]) == {"ids"}
    assert set(decide(strip, legend(3), ("runner_up",))[0]) == {"ids", "runner_up"}


@pytest.mark.parametrize("value", [0.0, 1.0, 1.0000001])
def test_probabilities_stay_in_range(value):
    strip = Strip(0, 0, 1, np.full((2, 1, 1), value, np.float32), np.ones((1, 1), bool))
    assert decide(strip, legend(2), NAMES)[0]["confidence"][0, 0] == round(min(value, 1) * 200)
