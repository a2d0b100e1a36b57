"""The temperature of the confidence: what it is fitted to, and where it is used and not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from c2seg.legend import c2seg13
from c2seg.predict.calibration import calibrated, calibration_error, fit_temperature, log_loss
from c2seg.predict.decision import Decision
from c2seg.predict.engine import Strip
from c2seg.predict.layers import decide, expected_pixels


def drawn(pixels=60_000, classes=7, seed=0):
    """Return logits [K, N] and labels [N] drawn from their softmax: perfectly calibrated."""
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((classes, pixels)) * 1.7
    chance = softmax(logits, axis=0)
    return logits, (rng.random(pixels) > chance.cumsum(axis=0)).sum(axis=0).clip(max=classes - 1)


@pytest.mark.parametrize("known", [0.5, 1.0, 1.6, 3.0])
def test_a_known_temperature_is_recovered(known):
    logits, label = drawn()
    found = softmax(logits * known, axis=0).astype(np.float32)  # too sure above 1, not sure enough below
    temperature = fit_temperature(found, label)
    assert temperature == pytest.approx(known, rel=0.03)
    assert log_loss(found, label, temperature) <= log_loss(found, label) + 1e-6
    right = found.argmax(axis=0) == label
    errors = [calibration_error(p.max(axis=0), right) for p in (found, calibrated(found, temperature))]
    assert errors[1] < 0.01
    assert known == 1.0 or errors[0] > 5 * errors[1]


def test_calibrated_is_the_softmax_of_divided_logits_and_keeps_the_order():
    logits, _ = drawn(500)
    chance = softmax(logits, axis=0).astype(np.float32)
    found = calibrated(chance.reshape(7, 20, 25), 1.4).reshape(7, 500)
    np.testing.assert_allclose(found, softmax(log_softmax(logits, axis=0) / 1.4, axis=0), atol=1e-5)
    np.testing.assert_array_equal(found.argmax(axis=0), chance.argmax(axis=0))
    zeros = np.array([[1.0], [0.0]], np.float32)
    assert 0 < calibrated(zeros, 2.0)[1, 0] < 0.01
    np.testing.assert_allclose(calibrated(np.zeros((4, 3), np.float32), 0.5), 0.25)


def test_the_calibration_error_by_hand():
    confidence = np.array([0.9, 0.9, 0.9, 0.9, 0.3, 1.0])
    right = np.array([True, True, False, False, False, True])
    assert calibration_error(confidence, right) == pytest.approx((4 * 0.4 + 0.3 + 0) / 6)
    assert calibration_error(confidence, right, bins=1) == pytest.approx(abs(confidence.sum() - 3) / 6)


@pytest.mark.parametrize("decision", [None, Decision((1.0, 3.0, 1.0, *[1.0] * 10), (0.1, 0.2, 0.3, *[0.0] * 10))])
def test_a_temperature_changes_layers_and_areas_but_no_class(decision):
    rng = np.random.default_rng(1)
    chance = softmax(rng.standard_normal((13, 40, 9)) * 2, axis=0).astype(np.float32)
    weights = rng.uniform(0.5, 2, 40).astype(np.float32), rng.uniform(0.5, 2, 9).astype(np.float32)
    strip = Strip(0, 0, 40, chance * weights[0][:, None] * weights[1], rng.random((40, 9)) < 0.8, *weights)
    names = ("confidence", "runner_up", "probabilities")
    plain, _ = decide(strip, c2seg13(), names, decision)
    found, _ = decide(strip, c2seg13(), names, decision, temperature=2.0)
    np.testing.assert_array_equal(found["ids"], plain["ids"])
    np.testing.assert_array_equal(found["runner_up"][:, 0], plain["runner_up"][:, 0])
    wanted = softmax(np.log(chance) / 2, axis=0)
    valid = strip.valid
    np.testing.assert_allclose(found["probabilities"].transpose(1, 0, 2)[:, valid] / 200, wanted[:, valid], atol=0.0026)
    own = np.take_along_axis(wanted, np.maximum(found["ids"].astype(int) - 1, 0)[None], axis=0)[0]
    np.testing.assert_allclose(found["confidence"][valid] / 200, own[valid], atol=0.0026)
    other = np.take_along_axis(wanted, np.clip(found["runner_up"][:, 0].astype(int) - 1, 0, 12)[None], axis=0)[0]
    np.testing.assert_allclose(found["runner_up"][:, 1][valid] / 200, (own - other).clip(0)[valid], atol=0.0026)
    assert (found["confidence"][~valid] == 255).all()
    np.testing.assert_allclose(expected_pixels(strip, 2.0), wanted[:, valid].sum(axis=1), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(expected_pixels(strip), chance[:, valid].sum(axis=1), rtol=1e-4, atol=1e-3)
