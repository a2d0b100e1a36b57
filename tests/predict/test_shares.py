"""Estimated class shares, and the decisions that use them, on planted shifts."""

from __future__ import annotations

import numpy as np
import pytest

from c2seg.predict.calibration import calibrated
from c2seg.predict.decision import ModelFacts, decide_for, expected_oa, unbiased_area
from c2seg.predict.shares import bbse_shares, mlls_shares

CITY = np.array([0.6, 0.25, 0.1, 0.05])
TRAINING = np.full(4, 0.25)


def planted(shares, prior, pixels=60_000, seed=0, apart=1.3):
    """Return exact posteriors [K, N] under a prior, of pixels drawn with other shares, and their classes [N]."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(len(shares), size=pixels, p=shares)
    centers = apart * np.eye(len(shares))
    values = centers[truth] + rng.standard_normal((pixels, len(shares)))
    logs = -0.5 * ((values[:, None] - centers[None]) ** 2).sum(axis=2) + np.log(prior)
    chance = np.exp(logs - logs.max(axis=1, keepdims=True))
    return (chance / chance.sum(axis=1, keepdims=True)).T.astype(np.float32), truth


def distance(first, second):
    return float(np.abs(np.asarray(first) - second).sum() / 2)


def mapped(decision, chance):
    return np.bincount(decision.classes(chance), minlength=len(chance)) / chance.shape[1]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("prior", [TRAINING, np.array([0.1, 0.2, 0.3, 0.4])])
def test_mlls_recovers_planted_shares_within_one_percent(seed, prior):
    chance, truth = planted(CITY, prior, seed=seed)
    true = np.bincount(truth, minlength=4) / len(truth)
    assert distance(mlls_shares(chance, prior), true) < 0.01
    assert distance(chance.mean(axis=1), true) > 0.1, "the mean alone is biased toward the training's shares"


def test_the_wrong_training_shares_are_a_trap():
    """The sampler draws classes evenly; with the source city's own shares in its place the estimate is far off."""
    chance, _ = planted(CITY, TRAINING)
    assert distance(mlls_shares(chance, np.array([0.1, 0.2, 0.3, 0.4])), CITY) > 0.1


def test_calibration_comes_first():
    chance, _ = planted(CITY, TRAINING)
    sure = calibrated(chance, 0.4)
    facts = ModelFacts(training_shares=tuple(TRAINING), temperature=2.5)
    assert distance(facts.shares(sure), CITY) < 0.01
    assert distance(mlls_shares(sure, TRAINING), CITY) > 0.015


@pytest.mark.parametrize("seed", range(3))
def test_bbse_recovers_planted_shares_of_an_uncalibrated_model(seed):
    held, classes = planted(TRAINING, TRAINING, seed=seed + 10)
    chance, truth = planted(CITY, TRAINING, seed=seed)
    held, chance = calibrated(held, 0.5), calibrated(chance, 0.5)
    response = np.stack([held[:, classes == k].mean(axis=1) for k in range(4)], axis=1)
    true = np.bincount(truth, minlength=4) / len(truth)
    assert distance(bbse_shares(response, chance.mean(axis=1)), true) < 0.03


def test_bbse_gives_nothing_to_classes_without_held_out_pixels():
    response = np.array([[0.8, 0.1, 0.0], [0.2, 0.9, 0.0], [0.0, 0.0, 0.0]])
    shares = bbse_shares(response, response @ np.array([0.7, 0.3, 0.0]))
    np.testing.assert_allclose(shares, [0.7, 0.3, 0.0], atol=1e-6)


def test_classes_that_were_not_trained_get_no_share():
    chance, _ = planted(CITY, TRAINING, pixels=5000)
    shares = mlls_shares(chance, np.array([0.5, 0.25, 0.25, 0.0]))
    assert shares[3] == 0
    assert shares.sum() == pytest.approx(1)


def test_no_pixels_give_the_training_shares_and_no_decision():
    np.testing.assert_allclose(mlls_shares(np.zeros((4, 0), np.float32), TRAINING), TRAINING)
    for kind in ("argmax", "expected_iou", "expected_oa", "unbiased_area"):
        assert decide_for(kind, np.zeros((4, 0), np.float32), ModelFacts()) is None


@pytest.mark.parametrize("temperature", [None, 2.5])
def test_expected_oa_is_more_often_right_than_the_largest_probability(temperature):
    chance, truth = planted(CITY, TRAINING)
    given = chance if temperature is None else calibrated(chance, 1 / temperature)
    decision = expected_oa(given, ModelFacts(training_shares=tuple(TRAINING), temperature=temperature))
    gain = (decision.classes(given) == truth).mean() - (given.argmax(axis=0) == truth).mean()
    exact, _ = planted(CITY, CITY)  # the posteriors of a model that knows the city's shares
    best = (exact.argmax(axis=0) == truth).mean()
    assert gain > 0.05
    assert (decision.classes(given) == truth).mean() > best - 0.002


def test_unbiased_area_maps_the_shares_of_the_city():
    chance, truth = planted(CITY, TRAINING)
    facts = ModelFacts(training_shares=tuple(TRAINING))
    true = np.bincount(truth, minlength=4) / len(truth)
    area = distance(mapped(unbiased_area(chance, facts, estimated=True), chance), true)
    assert area < 0.012
    assert area < distance(mapped(expected_oa(chance, facts), chance), true) / 3
    assert area < np.abs(np.bincount(chance.argmax(axis=0), minlength=4) / len(truth) - true).sum() / 2 / 10


def test_each_decision_is_the_best_for_its_purpose():
    chance, truth = planted(CITY, TRAINING)
    facts = ModelFacts(training_shares=tuple(TRAINING))
    true = np.bincount(truth, minlength=4) / len(truth)
    decided = {}
    for kind in ("expected_oa", "unbiased_area"):
        decision = decide_for(kind, chance, facts, area_shares="mlls")
        assert decision is not None
        decided[kind] = decision.classes(chance)
    oa = {kind: (index == truth).mean() for kind, index in decided.items()}
    area = {kind: distance(np.bincount(index, minlength=4) / len(truth), true) for kind, index in decided.items()}
    assert max(oa, key=oa.__getitem__) == "expected_oa"
    assert min(area, key=area.__getitem__) == "unbiased_area"


@pytest.mark.parametrize("training_shares", [None, tuple(TRAINING)])
def test_the_area_of_expected_sums_is_mapped_by_default(training_shares):
    chance, _ = planted(CITY, TRAINING)
    facts = ModelFacts(training_shares=training_shares)
    decision = decide_for("unbiased_area", chance, facts)
    assert decision is not None
    assert distance(mapped(decision, chance), chance.mean(axis=1)) < 0.002


def test_without_training_shares_the_mean_probabilities_are_the_shares():
    chance, _ = planted(CITY, TRAINING)
    facts = ModelFacts()
    np.testing.assert_allclose(facts.shares(chance), chance.mean(axis=1), atol=1e-5)
    np.testing.assert_array_equal(expected_oa(chance, facts).classes(chance), chance.argmax(axis=0))
    assert distance(mapped(unbiased_area(chance, facts), chance), chance.mean(axis=1)) < 0.002


def test_absent_classes_are_never_decided():
    chance, _ = planted(CITY, TRAINING)
    facts = ModelFacts(present=(True, True, False, True), training_shares=(0.4, 0.3, 0.0, 0.3))
    for kind in ("expected_oa", "unbiased_area"):
        decision = decide_for(kind, chance, facts)
        assert decision is not None
        assert not (decision.classes(chance) == 2).any()
