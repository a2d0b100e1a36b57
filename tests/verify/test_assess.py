"""Where a map is likely wrong, before any label."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

from c2seg.api.assessing import assess_map
from c2seg.artifacts.seen import SeenPixels
from c2seg.errors import C2SegError, InputError
from c2seg.metrics.reliability import Reliability
from c2seg.pipeline import fit
from c2seg.predict import MapOptions
from c2seg.predict.city import predict
from c2seg.recipes import load_recipe
from c2seg.verify.assessment import Assessment
from c2seg.verify.novelty import Novelty
from c2seg.verify.risk import combined
from helpers.rasters import write_raster

RECIPE = load_recipe("forest", "tiny", ["model.trees=6", "validation.folds=2", "normalization=source"])


@pytest.fixture
def mapped(make_city, tmp_path):
    """Return a map, with its confidence, of a city whose lower half is like no pixel of the source."""
    source, target = make_city("source", seed=1), make_city("target", seed=2)
    with rasterio.open(target / "msi.tif", "r+") as dataset:
        values = dataset.read()
        values[:, 40:] += 8000
        dataset.write(values)
    fit(RECIPE, [source], tmp_path / "run", target=target)
    out = tmp_path / "run" / "maps" / "target.tif"
    out.parent.mkdir()
    predict(
        tmp_path / "run/model.safetensors", target, MapOptions(out, confidence=out.with_name("target_confidence.tif"))
    )
    return out


def test_strange_pixels_are_new_and_risky(mapped, tmp_path):
    result = assess_map(mapped, tmp_path / "risk.tif", picture=tmp_path / "risk.png")
    assert result == Assessment.read(tmp_path / "risk.json")
    assert result.layers == ("risk", "error", "novelty", "outside")
    assert result.calibration == "held-out blocks of the sources"
    with rasterio.open(tmp_path / "risk.tif") as dataset, rasterio.open(mapped) as shown:
        risk, _, novelty, outside = dataset.read()
        assert dataset.transform == shown.transform
        assert dataset.descriptions == result.layers
    assert novelty[40:].min() > 100 > np.median(novelty[:40])  # 100: the threshold
    assert outside[40:].min() >= 200 * 4 / 12
    assert risk[40:].mean() > risk[:40].mean() + 50
    assert 0.35 < result.overall.new < 0.5
    assert result.overall.pixels == 70 * 91 == sum(row.pixels for row in result.rows[1:])
    assert (tmp_path / "risk.png").read_bytes().startswith(b"\x89PNG")
    assert "draw a sample" in result.notes[-1]


def test_another_map_shows_where_one_is_wrong(mapped, tmp_path):
    with rasterio.open(mapped) as dataset:
        ids = dataset.read()
    ids[:, :10] = np.where(ids[:, :10] == 1, 3, 1)
    result = assess_map(mapped, tmp_path / "risk.tif", others=[write_raster(tmp_path / "other.tif", ids)])
    with rasterio.open(tmp_path / "risk.tif") as dataset:
        disagreement = dataset.read(result.layers.index("disagreement") + 1)
    assert (disagreement[:10] == 200).all()
    assert (disagreement[10:] == 0).all()
    assert result.compared == ("map other.tif",)


def test_without_its_model_a_map_is_assessed_by_its_confidence(mapped, tmp_path):
    (mapped.parent.parent / "model.safetensors").unlink()
    result = assess_map(mapped, tmp_path / "risk.tif")
    assert result.layers == ("risk", "error")
    assert result.calibration == "none"
    assert result.overall.new is None


def test_what_is_missing_is_told_in_one_line(mapped, tmp_path):
    small, confidence = write_raster(tmp_path / "other.tif", np.ones((1, 5, 5), np.uint8)), "target_confidence.tif"
    out = tmp_path / "risk.tif"
    with pytest.raises(InputError):
        assess_map(mapped, mapped, overwrite=True)  # the map itself is never replaced
    with pytest.raises(C2SegError, match="do not cover the same pixels"):
        assess_map(mapped, out, others=[small])
    mapped.with_name(confidence).rename(tmp_path / confidence)
    with pytest.raises(InputError, match="no confidence"):
        assess_map(mapped, out)
    mapped.with_suffix(".json").unlink()
    with pytest.raises(InputError, match="no record"):
        assess_map(mapped, out, confidence=tmp_path / confidence)
    assert not out.exists()


def test_calibration_follows_held_out_counts():
    counts = Reliability()
    counts.add(np.full(1000, 0.9), np.arange(1000) < 600)
    counts.add(np.full(1000, 0.5), np.arange(1000) < 300)
    assert counts.calibrated(np.array([0.925]))[0] == pytest.approx(0.6, abs=0.01)
    values = counts.calibrated(np.linspace(0, 1, 50))
    assert (np.diff(values) >= 0).all()


def test_novelty_is_one_at_the_threshold_of_the_training_pixels():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(300, 3))
    novelty = Novelty.of(
        SeenPixels(
            run_id="r", channels=("a", "b", "c"), values=tuple(map(tuple, values.tolist())), blocks=tuple(range(300))
        )
    )
    fresh = rng.normal(size=(1000, 3)).astype(np.float32)
    assert (novelty.distance(fresh) > 1).mean() < 0.1
    assert novelty.distance(fresh + 10).min() > 1
    assert novelty.outside(fresh + 10).min() == 1


def test_risk_grows_with_each_of_its_parts():
    error = np.array([0.2], np.float32)
    plain = combined(error, None, None)[0]
    assert plain == pytest.approx(0.2)
    assert combined(error, np.array([0.9]), np.array([0.0]))[0] == pytest.approx(0.2)
    assert combined(error, np.array([2.0]), None)[0] == pytest.approx(0.6)
    assert combined(error, None, np.array([1.0]))[0] == pytest.approx(0.6)
