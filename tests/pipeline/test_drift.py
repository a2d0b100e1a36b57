"""Drift between cities, and the summary that a run ends with."""

from __future__ import annotations

import numpy as np
import pytest

from c2seg.artifacts import RunRecord
from c2seg.pipeline import fit
from c2seg.pipeline.drift import SampledPixels, measure_drift, stability_index
from c2seg.pipeline.summary import summary_lines
from c2seg.recipes import load_recipe


def sample(shift, seed):
    rng = np.random.default_rng(seed)
    return SampledPixels(rng.normal(shift, 1, (2000, 2)).astype(np.float32), np.arange(2000) // 32)


def test_stability_is_zero_for_equal_values_and_grows_with_a_shift():
    values = np.random.default_rng(0).normal(size=5000)
    assert stability_index(values, values) < 0.01
    assert 0.1 < stability_index(values, values + 0.5) < stability_index(values, values + 2)


@pytest.mark.parametrize(("shift", "low", "high", "words"), [(0, 0.5, 0.56, "look like"), (4, 0.98, 1.0, "hardly any")])
def test_a_classifier_tells_shifted_cities_apart(shift, low, high, words):
    drift = measure_drift(sample(0, 1), sample(shift, 2), [("msi", "red"), ("msi", "nir")], 0)
    assert low <= drift.separability <= high
    assert words in drift.reading[0]
    assert [band.band for band in drift.bands] == ["red", "nir"]


def test_too_few_pixels_say_nothing():
    few = SampledPixels(np.zeros((5, 2), np.float32), np.zeros(5, np.int64))
    assert measure_drift(few, sample(0, 1), [("a", "b"), ("a", "c")], 0).separability is None


def test_a_run_ends_with_a_summary(make_city, tmp_path):
    recipe = load_recipe("forest", "tiny", ["model.trees=10", "validation.folds=2"])
    source, target = make_city("source", seed=1), make_city("target", seed=2, gain=3.0, label=False)
    result = fit(recipe, [source], tmp_path / "run", target=target, preset="tiny")
    summary = RunRecord.read(tmp_path / "run" / "record.json").summary
    assert result.summary == summary
    assert summary.source_pixels == summary.target_pixels == 70 * 91
    assert summary.classes == ("Surface water", "Urban fabric", "Forests")
    assert summary.bands == {"msi": 4, "sar": 2, "hsi": 6}
    lines = "\n".join(summary_lines(summary))
    assert "no test of the target" in lines
    assert "drift: " in lines
    assert f"next: c2seg predict {tmp_path / 'run' / 'model.safetensors'} {target}" in lines
