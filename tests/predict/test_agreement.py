from __future__ import annotations

import numpy as np
import pytest
from test_engine import CLASSES, Identity, scene_of

from c2seg.errors import InputError
from c2seg.predict import WindowPlan, measure_agreement, sample_windows
from c2seg.predict.agreement import Agreement


class Wrong(Identity):
    """Shifts the classes of one pixel in ``every``."""

    every = 1
    value = None

    def predict(self, patch, valid):
        scores = super().predict(patch, valid).copy()
        flat = scores.reshape(len(scores), CLASSES, -1)
        flat[:, :, :: self.every] = np.roll(flat[:, :, :: self.every], 1, axis=1) if self.value is None else self.value
        return scores


def city(margin=0.5):
    rng = np.random.default_rng(0)
    best = rng.integers(0, CLASSES, (64, 64))
    scores = np.full((CLASSES, 64, 64), (1 - margin) / CLASSES, np.float32)
    np.put_along_axis(scores, best[None], (1 - margin) / CLASSES + margin, axis=0)
    return scene_of(scores)


@pytest.mark.parametrize(("every", "margin", "accepted"), [
    (2000, 0.5, True), (500, 0.5, False), (500, 0.01, True), (60, 0.01, False),
])  # fmt: skip
def test_what_is_accepted(every, margin, accepted):
    wrong = Wrong()
    wrong.every = every
    found = measure_agreement(Identity(), wrong, city(margin), WindowPlan(64, 64, 64))
    assert found.pixels == 4096
    assert found.same == 4096 - -(-4096 // every)
    assert found.clear == (4096 if margin > 0.05 else 0)
    assert found.accepted is accepted
    assert f"{found.pixels} pixels" in str(found)


def test_values_that_are_not_finite_are_refused():
    wrong = Wrong()
    wrong.value = np.nan
    with pytest.raises(InputError, match="not finite"):
        measure_agreement(Identity(), wrong, city(), WindowPlan(64, 64, 64))


def test_the_edges_of_acceptance():
    assert Agreement(1, 1000, 990, 1000, 999).accepted
    assert not Agreement(1, 1000, 989, 1000, 1000).accepted
    assert not Agreement(1, 1000, 1000, 1000, 998).accepted
    assert Agreement(0, 0, 0, 0, 0).accepted


@pytest.mark.parametrize("halo", [0, 2])
def test_samples_are_spread_and_hold_valid_pixels(halo):
    usable = np.zeros((64, 64), bool)
    usable[:, 40:] = True
    reader = scene_of(np.ones((CLASSES, 64, 64), np.float32), valid=usable)
    plan = WindowPlan(64, 64, 8)
    seen = set()

    def spy(window):
        seen.add(window)
        return reader(window)

    samples = list(sample_windows(spy, plan, halo, 5))
    assert len(samples) == 5
    assert len({window.row for window in seen}) > 3
    assert len(seen) <= 20
    for patch, valid in samples:
        assert valid.shape == (1, 8 + 2 * halo, 8 + 2 * halo)
        assert patch["msi"].shape == (1, CLASSES, 8 + 2 * halo, 8 + 2 * halo)
        assert valid[0, halo : halo + 8, halo : halo + 8].any()
