"""Runs with a few labels of the target: they help, they are marked, and nothing is scored where they are."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import rasterio

from c2seg.artifacts import MapRecord, RunRecord, read_model_file
from c2seg.challenge import pack_submission
from c2seg.errors import C2SegError, InputError
from c2seg.legend import c2seg13
from c2seg.pipeline import fit
from c2seg.pipeline.prepare import LabelFile
from c2seg.pipeline.scoring import score_maps
from c2seg.predict import MapOptions
from c2seg.predict.city import predict
from c2seg.recipes import load_recipe
from helpers.few_labels import places_of, write_table

pytest.importorskip("shapely")

KEYS = ["model.trees=10", "model.mean_px=[3]", "model.std_px=[]", "validation.folds=0"]
CHOOSING = load_recipe("forest", "tiny", [*KEYS, "target_labels.folds=2"])
FOREST = load_recipe("forest", "tiny", [*KEYS, "target_labels={choose: false, calibrate: false}"])
UNET = load_recipe(
    "unet",
    "tiny",
    [
        "model.widths=[8, 16]", "training.iterations=40", "training.sampling={patch_px: 16, batch_size: 8}",
        "prediction={window_px: 32}", "training.optimizer.lr=0.01", "training.ema_decay=null",
        "target_labels={choose: false, guard_px: 2}",
    ],
)  # fmt: skip


@pytest.fixture
def pair(make_city):
    """Return a source and a target whose classes 1 and 10 look as the other's: no model of the source can know."""
    return make_city("source", seed=1), make_city("target", seed=2, gain=-1.0)


@pytest.fixture
def labels(pair, tmp_path):
    places, classes = places_of(pair[1], 8)
    return write_table(tmp_path / "labels.csv", pair[1] / "label.tif", places, classes)


def run(recipe, pair, out, labels=None, **options):
    source, target = pair
    fit(recipe, [source], out, target=target, target_labels=labels and LabelFile(labels), overwrite=True, **options)
    predict(out / "model.safetensors", target, MapOptions(out / "map.tif", overwrite=True))
    return out / "map.tif"


def oa(path, target):
    return score_maps(path, target / "label.tif").oa


def test_few_labels_teach_what_no_source_can(pair, labels, tmp_path):
    before, after = run(FOREST, pair, tmp_path / "a"), run(CHOOSING, pair, tmp_path / "b", labels)
    assert oa(before, pair[1]) < 0.6
    assert oa(after, pair[1]) > 0.9
    choices = RunRecord.read(tmp_path / "b" / "record.json").label_choices
    assert choices.weight == 1
    assert choices.trials[-1].miou > choices.trials[0].miou + 0.3


def test_runs_maps_and_scores_say_that_they_are_few_shot(pair, labels, tmp_path):
    path = run(FOREST, pair, tmp_path / "b", labels)
    record = RunRecord.read(tmp_path / "b" / "record.json")
    assert record.few_shot
    assert record.target_labels.labels == {"Surface water": 8, "Urban fabric": 8, "Forests": 8}
    assert record.label_choices.weight == 0.5
    assert MapRecord.read(path.with_suffix(".json")).few_shot
    scores = score_maps(path, pair[1] / "label.tif")
    assert scores.few_shot
    assert "few-shot" in scores.notes[0]


def test_scores_leave_out_labels_and_what_surrounds_them(pair, labels, tmp_path):
    path = run(FOREST, pair, tmp_path / "b", labels)
    with rasterio.open(pair[1] / "label.tif") as dataset:
        reference = dataset.read(1)
    near = np.zeros(reference.shape, bool)
    for row, col in places_of(pair[1], 8)[0]:
        near[max(0, row - 1) : row + 2, max(0, col - 1) : col + 2] = True
    scores = score_maps(path, pair[1] / "label.tif")
    assert scores.left_out_pixels == (near & (reference > 0)).sum()
    assert scores.pixels == (~near & (reference > 0)).sum()


def test_nothing_is_scored_where_every_pixel_is_near_a_label(pair, labels, tmp_path):
    wide = FOREST.model_copy(update={"target_labels": FOREST.target_labels.model_copy(update={"guard_px": 100})})
    path = run(wide, pair, tmp_path / "b", labels)
    with pytest.raises(C2SegError, match="every labeled pixel of the ground truth"):
        score_maps(path, pair[1] / "label.tif")


def test_few_shot_maps_are_not_compared_with_others(pair, labels, tmp_path):
    before, after = run(FOREST, pair, tmp_path / "a"), run(FOREST, pair, tmp_path / "b", labels)
    with pytest.raises(InputError, match=r"few-shot.*score each alone"):
        score_maps(after, pair[1] / "label.tif", against=before)
    with pytest.raises(InputError, match="leaderboard"):
        pack_submission(after, tmp_path / "s.zip", c2seg13())


def test_poisoned_target_labels_change_nothing_beside_the_few(pair, labels, tmp_path):
    source, clean = pair
    poisoned = tmp_path / "poisoned" / "target"
    shutil.copytree(clean, poisoned)
    (clean / "label.tif").unlink()
    with rasterio.open(poisoned / "label.tif", "r+") as dataset:
        dataset.write(np.full((1, 70, 91), 77, np.uint8))
    models = []
    for name, target in (("a", clean), ("b", poisoned)):
        run(FOREST, (source, target), tmp_path / name, labels)
        models.append((tmp_path / name / "model.safetensors").read_bytes())
    assert models[0] == models[1]


def test_other_labels_are_another_run(pair, labels, tmp_path):
    run(FOREST, pair, tmp_path / "a", labels)
    first = RunRecord.read(tmp_path / "a" / "record.json")
    lines = labels.read_text().splitlines()
    labels.write_text("\n".join(lines[:-1]))
    run(FOREST, pair, tmp_path / "b", labels)
    second = RunRecord.read(tmp_path / "b" / "record.json")
    assert first.run_id != second.run_id
    assert first.target_labels.digest != second.target_labels.digest


def test_labels_need_a_target(pair, labels, tmp_path):
    with pytest.raises(InputError, match="give `target`"):
        fit(FOREST, [pair[0]], tmp_path / "a", target_labels=LabelFile(labels))


def test_too_few_labels_are_trained_on_and_decide_nothing(pair, tmp_path):
    places, classes = places_of(pair[1], 2)
    labels = write_table(tmp_path / "two.csv", pair[1] / "label.tif", places, classes)
    run(CHOOSING, pair, tmp_path / "a", labels)
    choices = RunRecord.read(tmp_path / "a" / "record.json").label_choices
    assert not choices.trials
    assert "decide nothing" in choices.notes[0]


def test_networks_train_on_them_too(pair, labels, tmp_path):
    pytest.importorskip("torch")
    path = run(UNET, pair, tmp_path / "b", labels)
    record = RunRecord.read(tmp_path / "b" / "record.json")
    header = read_model_file(path.parent / "model.safetensors").header
    assert record.label_check.calibration.temperature == header.confidence_temperature
    assert oa(path, pair[1]) > 0.6
    lines = labels.read_text().splitlines()
    labels.write_text("\n".join(lines[:-1]))
    with pytest.raises(InputError, match="cannot resume"):  # another file of labels is another training
        fit(UNET, [pair[0]], tmp_path / "b", target=pair[1], target_labels=LabelFile(labels), resume=True)
