"""The published offline protocol: a split that leaks, tiles counted whole, last and best weights."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

from c2seg.artifacts import read_model_file
from c2seg.artifacts.offline import TileScores
from c2seg.data.splits import third_place_split
from c2seg.data.tiling import TileGrid
from c2seg.errors import DataError, RecipeError
from c2seg.metrics import Confusion, confusion_counts, scores
from c2seg.pipeline import fit
from c2seg.pipeline.checkpoints import ScoredCheckpoints
from c2seg.pipeline.tile_scores import TileTest
from c2seg.predict import MapOptions
from c2seg.predict.city import predict
from c2seg.recipes import load_recipe

TILE = 16
SPLIT = "kind: random_tiles, final: false, tile_px: 16"
FOREST = load_recipe("forest", "tiny", ["model.trees=10", "prediction.window_px=32", f"validation={{{SPLIT}}}"])
UNET = [
    "model.widths=[4, 8]", "training.iterations=30", "training.sampling={patch_px: 16, batch_size: 4}",
    "prediction={window_px: 16, tta: false}", "training.optimizer.lr=0.01", "training.ema_decay=null",
]  # fmt: skip
IDS = tuple(range(14))


def read(path):
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def erase(city, class_id):
    """Make a class of a city's label background."""
    with rasterio.open(city / "label.tif", "r+") as file:
        ids = file.read(1)
        file.write(np.where(ids == class_id, 0, ids).astype(np.uint8), 1)


def tiles_of(ids):
    """Return the validation tiles of a city of this size, one after the other."""
    grid = TileGrid(*ids.shape, TILE, TILE // 2)
    windows = list(grid.windows())
    return grid, [ids[windows[number].slices] for number in third_place_split(grid.count).validation]


def test_every_tile_counts_whole_and_overlaps_twice(make_city, tmp_path):
    """As counted on the map of the same model, whose features reach beyond the tiles, too."""
    source = make_city("source", seed=1)
    erase(source, 10)
    result = fit(FOREST, [source], tmp_path / "run")
    offline = result.validation.offline
    predict(tmp_path / "run/model.safetensors", source, MapOptions(tmp_path / "map.tif"))
    grid, labels = tiles_of(read(source / "label.tif"))
    _, maps = tiles_of(read(tmp_path / "map.tif"))
    counted = confusion_counts(np.concatenate(labels), np.concatenate(maps), IDS)
    assert offline.last.confusion == counted
    assert counted.pixels == len(labels) * TILE**2 > result.validation.scores.pixels
    assert offline.last.scores.miou == scores(counted, "mrsn").miou
    assert (offline.last.step, offline.best, offline.background) == (None, None, False)
    assert offline.last.scores.iou[0] == 0  # a forest never predicts background
    (split,) = offline.splits
    assert (split.training_tiles + split.validation_tiles, split.validation_tiles) == (grid.count, len(labels))
    assert (split.released, split.tile_px, split.step_px) == (False, 16, 8)
    assert 0.5 < split.leak <= 1
    assert split.leaking_tiles == split.validation_tiles


def test_pixels_without_data_are_background(make_city, tmp_path):
    source = make_city("source", seed=1, valid=True)
    label, valid = read(source / "label.tif"), read(source / "valid.tif")
    offline = fit(FOREST, [source], tmp_path / "run").validation.offline
    _, labels = tiles_of(label)
    _, there = tiles_of(valid)
    outside = sum(int((marks == 0).sum()) for marks in there)
    assert outside
    assert offline.last.confusion.counts[:, 0].sum() == outside
    assert offline.last.confusion.pixels == sum(tile.size for tile in labels)


def test_networks_predict_a_trained_background(make_city, tmp_path):
    source = make_city("source", seed=1)
    erase(source, 10)
    recipe = load_recipe(
        "unet", "tiny", [*UNET, "training.iterations=60", "background=trained", f"validation={{{SPLIT}}}"]
    )
    result = fit(recipe, [source], tmp_path / "run")
    offline = result.validation.offline
    assert offline.background
    assert offline.last.scores.ids == IDS
    assert offline.last.scores.iou[0] > 0.5
    assert len(result.validation.scores.iou) == 13  # the pooled scores of the fold stay as they are


def test_the_last_and_the_best_weights(make_city, tmp_path, monkeypatch):
    """The best are told from scores during the training, which change nothing of it; a stopped training has them all."""
    source = make_city("source", seed=1)
    plain = load_recipe("unet", "tiny", [*UNET, f"validation={{{SPLIT}}}"])
    watched = load_recipe("unet", "tiny", [*UNET, f"validation={{{SPLIT}, score_every: 10}}"])
    unwatched = fit(plain, [source], tmp_path / "plain")
    assert unwatched.validation.offline.best is None
    result = fit(watched, [source], tmp_path / "run").validation.offline
    assert [one.step for one in result.checkpoints] == [10, 20, 30]
    assert result.best.miou == max(one.miou for one in result.checkpoints)
    assert result.last == unwatched.validation.offline.last
    weights = [read_model_file(tmp_path / name / "model.safetensors").tensors for name in ("plain", "run")]
    assert all(np.array_equal(value, weights[1][name]) for name, value in weights[0].items())
    assert (tmp_path / "run/best.safetensors").exists() == (result.best.step != 30)

    count, calls = TileTest.count, []

    def stop(self, tensors):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return count(self, tensors)

    monkeypatch.setattr(TileTest, "count", stop)
    with pytest.raises(KeyboardInterrupt):
        fit(watched, [source], tmp_path / "again")
    assert fit(watched, [source], tmp_path / "again", resume=True).validation.offline == result
    assert len(calls) == 4  # the first of three was not scored again


class Scorer:
    """Scores of tensors as they come: a share of the pixels is right."""

    def __init__(self, *shares):
        self.shares = list(shares)

    def __call__(self, tensors):
        right = self.shares.pop(0)
        return Confusion((0, 1), np.array([[right, 10 - right, 0], [0, 10, 0]], np.int64))


def test_the_best_weights_on_disk(tmp_path):
    """The first of equals; those of steps that are trained again are forgotten."""

    def watch(*shares):
        return ScoredCheckpoints(
            tmp_path, 5, Scorer(*shares), lambda weights: {"n." + k: v for k, v in weights.items()}
        )

    def weights(step):
        return {"w": np.full(3, step, np.float32)}

    first = watch(5, 8, 8, 2)
    first.resume(0)
    for step in (5, 10, 15, 20):
        first.look(step, weights(step))
    assert [one.step for one in first.scored()] == [5, 10, 15, 20]
    assert max(first.scored(), key=lambda one: one.miou).step == 10
    assert first.best(10)["n.w"][0] == 10
    with pytest.raises(DataError, match="does not hold the weights of step 15"):
        first.best(15)
    resumed = watch(9)
    resumed.resume(10)
    assert [one.step for one in resumed.scored()] == [5, 10]
    resumed.look(15, weights(15))
    assert resumed.best(15)["n.w"][0] == 15
    resumed.resume(0)
    assert resumed.scored() == ()
    (tmp_path / "checkpoints.json").write_text("{")
    assert resumed.scored() == ()  # a damaged file is no reason to stop


def test_undefined_scores_choose_nothing():
    assert TileScores.of(5, Confusion.empty((0, 1))).miou == 0


def test_guarded_folds_choose_no_weights():
    with pytest.raises(RecipeError, match="score_every is for random_tiles"):
        load_recipe("unet", "tiny", ["validation={folds: 2, score_every: 10}"])
