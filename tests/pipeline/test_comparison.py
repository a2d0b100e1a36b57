"""Cities are compared in physical units only where the sources' classes explain the target's pixels so."""

from __future__ import annotations

import numpy as np
import pytest

import c2seg
from c2seg.artifacts.runs import RunRecord
from c2seg.pipeline.comparison import class_discrepancy

LEVELS = np.array([[0.0, 2.0, 0.0], [3.0, 0.0, 1.0], [-2.0, -2.0, 4.0]])


def pixels(shares, rng, count=600):
    """Pixels [N, 3] of three classes, and their classes [N]."""
    outputs = rng.choice(3, count, p=shares).astype(np.uint8)
    return LEVELS[outputs] + rng.normal(0, 0.5, (count, 3)), outputs


def test_other_shares_are_near_and_other_light_is_far():
    rng = np.random.default_rng(0)
    samples, outputs = pixels([1 / 3] * 3, rng)
    same, _ = pixels([1 / 3] * 3, rng)
    mixed, _ = pixels([0.05, 0.15, 0.8], rng)
    near, other = class_discrepancy(samples, outputs, same), class_discrepancy(samples, outputs, mixed)
    assert other < 2 * near
    assert class_discrepancy(samples, outputs, 1.5 * mixed + 1) > 5 * other
    assert class_discrepancy(samples, np.zeros_like(outputs), mixed) > 5 * other  # one class has no other shares


@pytest.mark.parametrize(("gain", "normalization"), [(1.0, "midway"), (2.5, "per_city")])
def test_a_target_of_another_light_is_not_compared(make_city, write_recipe, tmp_path, gain, normalization):
    recipe = {"name": "small", "normalization": "midway", "midway_limit": 2.0, "model": {"name": "forest", "trees": 5}}
    source, target = make_city("source"), make_city("target", seed=3, gain=gain, label=False)
    found = c2seg.fit(write_recipe(recipe), source=source, target=target, out=tmp_path / "run")
    check = RunRecord.read(tmp_path / "run/record.json").normalization_check
    assert check.normalization == normalization
    assert (check.midway > 2 * check.per_city) == (normalization == "per_city")
    assert any("normalization: per_city in the place of midway" in note for note in found.notes) == bool(check.notes)
    assert c2seg.load_model(tmp_path / "run").recipe.normalization == normalization


def test_nothing_is_checked_without_a_limit_or_a_target(make_city, write_recipe, tmp_path):
    recipe = {"name": "small", "normalization": "midway", "model": {"name": "forest", "trees": 5}}
    source, target = make_city("source"), make_city("target", seed=3, gain=2.5, label=False)
    c2seg.fit(write_recipe(recipe), source=source, target=target, out=tmp_path / "run")
    c2seg.fit(write_recipe(recipe | {"midway_limit": 2.0}), source=source, out=tmp_path / "alone")
    for name in ("run", "alone"):
        assert RunRecord.read(tmp_path / name / "record.json").normalization_check is None
        assert c2seg.load_model(tmp_path / name).recipe.normalization == "midway"
