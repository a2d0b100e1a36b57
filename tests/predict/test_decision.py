"""The decision that maximizes the expected mean over classes of IoU."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

from c2seg.legend import c2seg13
from c2seg.pipeline import fit
from c2seg.predict import MapOptions
from c2seg.predict.city import predict
from c2seg.predict.decision import Decision, expected_iou, subsampled
from c2seg.predict.engine import Strip
from c2seg.predict.layers import decide
from c2seg.recipes import load_recipe


def drawn(seed: int, classes: int = 5, pixels: int = 20_000):
    """Return probabilities [K, N] and reference [N] drawn from them: calibrated, class 0 common, the last rare."""
    rng = np.random.default_rng(seed)
    common = np.log(np.array([1.0, 0.3, 0.1, 0.03, 0.01]))[:classes]
    logits = common[:, None] + rng.standard_normal((classes, pixels))
    chance = np.exp(logits)
    chance /= chance.sum(axis=0)
    reference = (chance.cumsum(axis=0) < rng.random(pixels)).sum(axis=0).clip(max=classes - 1)
    return chance.astype(np.float32), reference


def mean_iou(decided, reference, classes):
    both = [
        ((decided == k) & (reference == k)).sum() / max(1, ((decided == k) | (reference == k)).sum())
        for k in range(classes)
    ]
    return float(np.mean(both))


def by(decision: Decision, chance):
    return decision.scores(chance, np.ones(chance.shape[1], np.float32)).argmax(axis=0)


@pytest.mark.parametrize("seed", range(4))
def test_calibrated_probabilities_give_a_better_mean_iou_than_the_largest(seed):
    chance, reference = drawn(seed)
    decision = expected_iou(chance, prior=0.0)
    gain = mean_iou(by(decision, chance), reference, 5) - mean_iou(chance.argmax(axis=0), reference, 5)
    assert gain > 0.01


def test_no_multipliers_found_by_search_are_much_better():
    """Exhaustive search over scales of three classes: what the rule finds is within a hair of the best expected mean."""
    chance, _ = drawn(7, classes=3)
    total = chance.sum(axis=1)

    def expected(decided):
        hit = np.array([chance[k, decided == k].sum() for k in range(3)])
        return float((hit / (np.bincount(decided, minlength=3) + total - hit)).mean())

    grid = np.exp(np.linspace(-1, 4, 26))
    best = max(expected((chance * np.array([[1.0], [a], [b]])).argmax(axis=0)) for a in grid for b in grid)
    assert expected(by(expected_iou(chance, prior=0.0), chance)) > best - 0.003


def test_clear_pixels_keep_their_class_and_absent_classes_never_win():
    chance = np.zeros((13, 3000), np.float32)
    chance[2, :1500], chance[9, 1500:] = 1, 1
    decided = by(expected_iou(chance), chance)
    np.testing.assert_array_equal(decided, chance.argmax(axis=0))


def test_a_class_that_nothing_was_learnt_of_never_wins():
    chance, _ = drawn(3)
    smoothed = np.concatenate([chance * 0.98, np.full((1, chance.shape[1]), 0.02, np.float32)])
    assert (by(expected_iou(smoothed), smoothed) == 5).any()
    decided = by(expected_iou(smoothed, [True] * 5 + [False]), smoothed)
    assert not (decided == 5).any()


def test_decisions_survive_sums_of_weighted_windows():
    chance, _ = drawn(3)
    decision = expected_iou(chance)
    weights = np.linspace(0.5, 2, chance.shape[1], dtype=np.float32)
    np.testing.assert_array_equal(decision.scores(chance * weights, weights).argmax(axis=0), by(decision, chance))


def test_confidence_stays_that_of_the_mapped_class():
    chance, _ = drawn(3)
    decision = expected_iou(chance)
    scores = np.zeros((13, 4, 5000), np.float32)
    scores[:5] = chance.reshape(5, 4, 5000)
    strip = Strip(0, 0, 4, scores, np.ones((4, 5000), bool))
    layers, _ = decide(strip, c2seg13(), ("confidence", "runner_up"), Decision(
        (*decision.scale, *[1.0] * 8), (*decision.offset, *[1e6] * 8)
    ))  # fmt: skip
    ids = layers["ids"].astype(int)
    own = np.take_along_axis(scores, ids[None] - 1, axis=0)[0]
    np.testing.assert_allclose(layers["confidence"] / 200, own, atol=0.0026)
    changed = own < scores.max(axis=0)
    assert changed.any()
    assert (layers["runner_up"][:, 1][changed] == 0).any()
    assert (layers["runner_up"][:, 0] != ids).all()


def test_thinning_takes_evenly_and_normalizes():
    part = np.tile(np.arange(1, 11, dtype=np.float32), (2, 100_000))
    found = subsampled([part, part], 2)
    assert found.shape == (2, 400_000)
    np.testing.assert_allclose(found.sum(axis=0), 1)


@pytest.mark.slow
def test_maps_by_expected_iou_are_the_same_for_one_and_two_workers(make_city, tmp_path):
    settings = [
        "model.widths=[4, 8]", "training.iterations=30", "training.sampling={patch_px: 16, batch_size: 4}",
        "prediction={window_px: 32, tta: false, decision: expected_iou}",
    ]  # fmt: skip
    run = tmp_path / "run"
    fit(load_recipe("unet", "tiny", settings), [make_city("source", seed=1)], run)
    city = make_city("target", seed=2, height=130)
    found = []
    for workers in (1, 2):
        out = tmp_path / f"{workers}.tif"
        [result] = predict(run / "model.safetensors", city, MapOptions(out, workers=workers), threads=1)
        assert len(result.key.decision.scale) == 13
        areas = result.area_km2, result.expected_area_km2
        assert sum(areas[0].values()) == pytest.approx(sum(areas[1].values()), rel=1e-4)
        assert areas[0] != areas[1]
        with rasterio.open(out) as file:
            found.append(file.read(1))
    np.testing.assert_array_equal(*found)
