"""Prediction sets hold the right class as often as they say, class by class."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

from c2seg.errors import DataError
from c2seg.legend import c2seg13
from c2seg.verify import open_map
from c2seg.verify.conformal import class_thresholds, left_out_coverage, prediction_sets, write_sets
from c2seg.verify.probabilities import open_probabilities
from helpers.report_make import grid, write_raster
from helpers.verify_make import make_map


def simulated(rng, points, shares=(0.6, 0.3, 0.1), sharpness=2.0):
    """Classes, and probabilities that know something of them; they are not calibrated."""
    reference = rng.choice(len(shares), points, p=shares)
    scores = rng.normal(size=(points, len(shares)))
    scores[np.arange(points), reference] += sharpness
    powers = np.exp(2 * scores)
    return reference, powers / powers.sum(1, keepdims=True)


def test_thresholds_are_order_statistics():
    own = np.arange(1, 20) / 20  # 19 points: 5 % of 20 is one
    probabilities = np.column_stack([own, 1 - own])
    reference = np.zeros(19, int)
    thresholds = class_thresholds(probabilities, reference, np.ones(19), 0.05)
    assert thresholds.tolist() == [0.05, 0.0]  # of the second class nothing is known: it is in every set
    assert class_thresholds(probabilities[:18], reference[:18], np.ones(18), 0.05)[0] == 0
    assert class_thresholds(probabilities, reference, np.ones(19), 0.1)[0] == pytest.approx(0.1)


@pytest.mark.parametrize("alpha", [0.1, 0.2])
def test_coverage_by_class(alpha):
    rng = np.random.default_rng(4)
    held = np.zeros(3)
    for _ in range(60):
        reference, probabilities = simulated(rng, 300)
        thresholds = class_thresholds(probabilities, reference, np.ones(300), alpha)
        truth, fresh = simulated(rng, 2000)
        inside = fresh[np.arange(2000), truth] >= thresholds[truth]
        held += [inside[truth == k].mean() for k in range(3)]
    coverage = held / 60
    assert (coverage >= 1 - alpha - 0.015).all()
    assert coverage[:2] == pytest.approx(1 - alpha, abs=0.03)


def test_weights_undo_how_the_sample_was_drawn():
    """Points of where the model is right are drawn ten times as often: without weights the sets are too small."""
    rng = np.random.default_rng(6)
    weighted, plain, draws = 0.0, 0.0, 60
    for _ in range(draws):
        reference, probabilities = simulated(rng, 4000, sharpness=1.0)
        easy = probabilities[np.arange(4000), reference] > 0.5
        chosen = rng.random(4000) < np.where(easy, 0.5, 0.05)
        weights = np.where(easy, 2.0, 20.0)[chosen]
        truth, fresh = simulated(rng, 2000, sharpness=1.0)
        for name, used in (("weighted", weights), ("plain", np.ones(len(weights)))):
            thresholds = class_thresholds(probabilities[chosen], reference[chosen], used, 0.1)
            share = (fresh[np.arange(2000), truth] >= thresholds[truth]).mean() / draws
            weighted, plain = (weighted + share, plain) if name == "weighted" else (weighted, plain + share)
    assert weighted >= 0.89
    assert plain < 0.8


def test_left_out_coverage_is_near_the_level():
    rng = np.random.default_rng(8)
    reference, probabilities = simulated(rng, 600)
    assert left_out_coverage(probabilities, reference, np.ones(600), 0.2) == pytest.approx(0.82, abs=0.05)
    assert left_out_coverage(probabilities[:0], reference[:0], np.ones(0), 0.2) is None


def test_the_layer(tmp_path):
    rng = np.random.default_rng(0)
    legend = c2seg13()
    ids = rng.choice(np.array(legend.ids[:4], np.uint8), (70, 90))
    ids[:5] = 0
    path = make_map(tmp_path, ids)
    raw = rng.integers(0, 201, (13, 70, 90)).astype(np.uint8)
    raw[:, ids == 0] = 255
    layer_path = tmp_path / "probabilities.tif"
    write_raster(layer_path, raw, grid(70, 90), nodata=255)
    class_map = open_map(path)
    layer = open_probabilities(layer_path, class_map)
    thresholds = np.full(13, 0.75)
    totals = write_sets(tmp_path / "sets.tif", layer, thresholds, overwrite=False)
    with rasterio.open(tmp_path / "sets.tif") as dataset:
        bits, size = dataset.read()
        assert dataset.dtypes == ("uint16", "uint16")
        assert dataset.tags(1)["BIT_0"] == legend.names[0]
    expected = raw.astype(np.float32) / 200 >= 0.75 - 1e-6
    for k, number in enumerate(legend.ids):
        expected[k] |= ids == number
    expected &= ids != 0
    assert size.tolist() == expected.sum(0).tolist()
    assert (bits >> 3 & 1).tolist() == expected[3].astype(int).tolist()
    assert totals.sizes.sum() == (ids != 0).sum()
    assert totals.sizes[0] == 0


def test_sets_hold_the_most_probable_class():
    probabilities = np.array([[0.5, 0.4, 0.1]])
    assert prediction_sets(probabilities, np.ones(3)).tolist() == [[True, False, False]]
    assert prediction_sets(probabilities, np.ones(3), np.array([2])).tolist() == [[False, False, True]]


def test_probabilities_of_something_else(tmp_path):
    path = make_map(tmp_path, np.ones((20, 30), np.uint8))
    wrong = tmp_path / "wrong.tif"
    write_raster(wrong, np.zeros((3, 20, 30), np.uint8), grid(20, 30), nodata=255)
    with pytest.raises(DataError, match="has 3 bands that are not the 13 classes"):
        open_probabilities(wrong, open_map(path))
    write_raster(wrong, np.zeros((13, 20, 31), np.uint8), grid(20, 31), nodata=255)
    with pytest.raises(DataError, match="does not lie on the grid"):
        open_probabilities(wrong, open_map(path))
