"""Every kind of file is read as it was written; other kinds, other layouts and unknown fields are told in one line."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio

import c2seg
import c2seg.artifacts.benchmark
import c2seg.data.cache
import c2seg.labels.record
import c2seg.predict.scratch
from c2seg._version import __version__
from c2seg.artifacts import (
    Header,
    MapRecord,
    Provenance,
    RunRecord,
    ScoreRecord,
    SourceCity,
    StripsKey,
    TrainingIdentity,
    ValidationRecord,
    read_model_file,
    run_provenance,
    write_model_file,
)
from c2seg.artifacts.benchmark import BenchmarkCosts, BenchmarkKey, BenchmarkResult, BenchmarkTable, PairedDifference
from c2seg.artifacts.offline import Checkpoints, TileScores
from c2seg.artifacts.seen import SeenPixels
from c2seg.artifacts.training import SharedTrainingCosts, StateHeader, TrainedSettings
from c2seg.artifacts.upgrade import artifact_of
from c2seg.benchmark.tables import rows
from c2seg.data import city_statistics, open_city
from c2seg.data.cache import CacheProgress
from c2seg.data.stored_statistics import CityStatistics
from c2seg.errors import C2SegError, DataError, ModelFileError
from c2seg.labels.record import LabelRecord
from c2seg.pipeline import fit
from c2seg.pipeline.scoring import score_maps
from c2seg.predict import MapOptions
from c2seg.predict.city import predict
from c2seg.recipes import load_recipe
from c2seg.records import Artifact
from helpers.rasters import write_raster
from helpers.verify_make import write_labels

LABELS = {
    "height": 2, "width": 3, "pixel_m2": 100.0, "attribution": "a", "license": "l",
    "extract": {"bounds_degrees": [0, 1, 2, 3], "bounds_from": "header", "timestamp": ""},
    "coverage": {"km2": 1.0, "covered_share": 1.0, "mapped_share": 0.5, "unmapped_share": 0.5},
    "classes": [{"id": 1, "name": "Water", "km2": 0.5, "share": 0.5}],
    "rules": [{"name": "sea", "class": 1, "features": 2, "km2": 0.5, "share": 0.5, "geometry_km2": 0.6}],
    "switches": [{"name": "s", "choice": "a", "class": 1, "km2": 0.1, "share": 0.1, "geometry_km2": 0.1,
                  "options": {"a": 1, "b": 0}}],
    "coastline": {"state": "none", "ways": 0, "led_to_edge": 0, "unknown_km2": 0.0},
    "unmatched": [{"tag": "x=y", "features": 1, "km2": 0.1}],
    "skipped": [{"id": "relation 1", "rule": "sea", "reason": "open"}],
    "rule_table": {"name": "default", "digest": "abc"},
}  # fmt: skip


def make_city(folder, seed):
    """Stripes of three classes, each with its own mean in three bands."""
    noise = np.random.default_rng(seed).normal(0, 20, (3, 64, 64))
    index = (np.arange(64) // 8 % 3)[None, :].repeat(64, axis=0)
    write_raster(folder / "msi.tif", (1000 + 100 * index + noise).astype(np.uint16))
    write_raster(folder / "label.tif", np.array([1, 3, 10], np.uint8)[index][None])
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("artifacts")


@pytest.fixture(scope="module")
def made(folder):
    """One of every kind, made by what makes it wherever that takes no training of networks."""
    source, target = make_city(folder / "source", 1), make_city(folder / "target", 2)
    settings = ["model.trees=2", "validation.folds=2", "prediction.window_px=64"]
    result = fit(load_recipe("forest", None, settings), [source], folder / "run", target=target)
    (mapped,) = predict(result.model, target, MapOptions(folder / "map.tif", min_area_px=4), backend="auto")
    scored = score_maps(
        folder / "map.tif",
        target,
        intervals=True,
        against=folder / "map.tif",
        block_px=20,
        replicates=20,
        boundary_px=1,
    )
    run = RunRecord.read(folder / "run" / "record.json")
    recipe = load_recipe("unet", "tiny")
    row = BenchmarkResult(
        key=BenchmarkKey(
            recipe=recipe, seed=0, equal_seconds=None, offline=False, device="cpu", cities=("a", "b"), reference=None
        ),
        pair="source-target", recipe="forest", inputs="default", label="forest", seed=0, iterations=None,
        fit_seconds=1.0, map_seconds=None, peak_memory_mib=None, parameters=None, gflops_128=None,
        uses_target_images=run.uses_target_images, commit=run.commit, validation=result.validation, scores=scored,
        offline=None,
    )  # fmt: skip
    identity = TrainingIdentity(
        settings=TrainedSettings.of(recipe), seed=0, data="d", start="", torch="2", device="cpu", threads=1,
        precision="32", processes=1,
    )  # fmt: skip
    against = PairedDifference(**dict(scored.comparison.miou), other="unet", by_pair={"source-target": None})
    everything = [
        run, mapped, scored, result.validation, read_model_file(result.model).header, row, identity,
        StripsKey(**dict(mapped.key), layers=("ids",)),
        StateHeader(step=3, identity=identity, content={"dict": [["method", {"tensor": "0"}]]}),
        BenchmarkCosts(step=0.1, step_seconds=0.2),
        BenchmarkTable(rows=tuple(rows([row])), against=(against,), results=(row,), failed={"x": "why"}),
        CityStatistics(city="source", modalities=city_statistics(open_city(source), ("msi",), quantiles=True)),
        CacheProgress(checksums={0: 7}, bytes=12),
        LabelRecord.model_validate(LABELS),
        SharedTrainingCosts(step_seconds=0.1, step_processor_seconds=None),
        Checkpoints(scored=(TileScores(step=5, scores=result.validation.scores, confusion=result.validation.confusion),)),
        SeenPixels.read(folder / "run" / "seen.json"),
        *verified(folder, target),
        prepared(folder, target),
    ]  # fmt: skip
    return {type(item): item for item in everything}


def verified(folder, target):
    """One of every kind of file about the accuracy of a map."""
    sample = c2seg.draw_sample(folder / "map.tif", folder / "points.gpkg", n=40, page=False).record
    with rasterio.open(target / "label.tif") as dataset:
        truth = dataset.read(1)
    labeled = write_labels(folder / "labeled.csv", folder / "points.csv", sample, truth)
    suggested = c2seg.suggest_points(folder / "map.tif", folder / "next.gpkg", n=5, page=False).record
    estimate = c2seg.estimate_accuracy(folder / "map.tif", labeled).record
    certificate = c2seg.certify_map(folder / "map.tif", labeled).record
    confidence = folder / "confidence.tif"
    c2seg.load_model(folder / "run/model.safetensors").predict(target, folder / "second.tif", confidence=confidence)
    assessment = c2seg.assess_map(folder / "second.tif", folder / "risk.tif")
    return sample, suggested, estimate, certificate, assessment


def prepared(folder, target):
    return c2seg.prepare_city(folder / "prepared", msi=target / "msi.tif").record


def kinds():
    found, waiting = set(), [Artifact]
    while waiting:
        for kind in waiting.pop().__subclasses__():
            waiting.append(kind)
            # Tests make kinds of their own; those of the server and of bundles have tests in their rooms.
            rooms = kind.__module__.split(".")
            ours = rooms[0] == "c2seg" and rooms[1] not in {"server", "challenge"}
            if ours and not kind.model_fields["artifact"].is_required():  # else it is a base of others
                found.add(kind)
    return found


def test_none_is_forgotten(made):
    assert set(made) == kinds()
    assert len({kind.artifact_name() for kind in made}) == len(made)


def test_reading_gives_what_was_written(made, tmp_path):
    for kind, item in made.items():
        path = tmp_path / f"{kind.artifact_name()}.json"
        item.write(path)
        assert kind.read(path) == item
        content = json.loads(path.read_text())
        assert (content["artifact"], content["schema"]) == (kind.artifact_name(), 1)
        again = tmp_path / "again.json"
        kind.read(path).write(again)
        assert again.read_bytes() == path.read_bytes()


def test_the_producers_files_are_these_records(made, folder):
    assert MapRecord.read(folder / "map.json") == made[MapRecord]
    assert ValidationRecord.read(folder / "run" / "validation.json") == made[ValidationRecord]
    run = made[RunRecord]
    assert made[MapRecord].run_id == made[Header].provenance.run_id == run.run_id
    assert made[ScoreRecord].by_class(made[ScoreRecord].iou).keys() == {c.name for c in made[ScoreRecord].classes}


def test_newer_layouts_and_unknown_fields_name_the_version(made, tmp_path):
    for kind, item in made.items():
        path = tmp_path / "file.json"
        for change, said in (({"schema": 2}, "in schema 2"), ({"to_come": 1}, "to_come")):
            path.write_text(json.dumps(item.as_json() | change))
            with pytest.raises(DataError, match=said) as error:
                kind.read(path)
            assert f"c2seg {__version__}" in str(error.value)
            assert "\n" not in str(error.value)


def changes_value(text: str, changed: str) -> bool:
    """Return whether a changed digit changes what a file says: not so the 17th digit of a number."""
    try:
        return bool(json.loads(changed) != json.loads(text))
    except json.JSONDecodeError:  # a number that begins with 0 now
        return True


@pytest.mark.parametrize("kind", [BenchmarkResult, BenchmarkCosts])
def test_a_digit_changed_in_a_result_that_is_used_again_is_told(made, tmp_path, kind):
    path = tmp_path / "file.json"
    made[kind].write(path)
    text = path.read_text()
    for place in [index for index, letter in enumerate(text) if letter.isdigit()][::29]:
        path.write_text(changed := text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :])
        if not changes_value(text, changed):
            continue
        with pytest.raises(DataError):
            kind.read(path)
    path.write_text(json.dumps(made[kind].as_json()))  # as 0.1.0 wrote it: without a checksum
    assert kind.read(path) == made[kind]


def test_other_kinds_and_damaged_files_are_told(made, tmp_path):
    path = tmp_path / "file.json"
    made[ValidationRecord].write(path)
    with pytest.raises(DataError, match="holds 'validation', not 'run'"):
        RunRecord.read(path)
    for text, said in (("[1]", "no JSON object"), ("{", "damaged"), ('{"schema": "x"}', "schema x"), ("{}", "fit")):
        path.write_text(text)
        with pytest.raises(DataError, match=said):
            RunRecord.read(path)
    with pytest.raises(DataError, match="No such file"):
        RunRecord.read(tmp_path / "none.json")


def test_a_model_file_of_a_newer_version_is_told_in_one_line(made, folder, tmp_path, monkeypatch):
    loaded = read_model_file(folder / "run" / "model.safetensors")
    path = tmp_path / "m.safetensors"
    write_model_file(path, loaded.header, loaded.tensors)
    assert read_model_file(path).digest == loaded.digest
    assert path.stat().st_mode & 0o777 == (folder / "run" / "record.json").stat().st_mode & 0o777
    write_model_file(path, loaded.header.model_copy(update={"schema_number": 9}), loaded.tensors)
    with pytest.raises(ModelFileError, match=f"in schema 9, c2seg {__version__} reads up to 1"):
        read_model_file(path)
    content = loaded.header.as_json()
    next(iter(content["inputs"].values()))[0]["to_come"] = 1
    with pytest.raises(DataError, match=r"does not know inputs\.\w+\.0\.to_come in 'model'.*newer version"):
        type(loaded.header).parse(content, "m")


def test_the_same_run_has_the_same_id_whatever_its_folders_are_called(made):
    known = made[RunRecord]
    process = Provenance.model_validate({name: getattr(known, name) for name in Provenance.model_fields})
    recipe = load_recipe("forest")

    def id_of(name="a", images="i", labels="l", recipe=recipe, **changes):
        changed = process.model_copy(update=changes)
        return run_provenance(changed, recipe, (SourceCity(name=name, images=images, labels=labels),), None).run_id

    assert id_of() == id_of(name="b") == id_of(command="other")
    others = {
        id_of(images="j"), id_of(labels="m"), id_of(seed=5), id_of(device="cuda"), id_of(commit="x"),
        id_of(recipe=load_recipe("forest", None, ["model.trees=3"])), id_of(packages={"numpy": "9"}),
    }  # fmt: skip
    assert len(others | {id_of()}) == 8


def test_kinds_are_told_apart(made):
    for kind, item in made.items():
        assert artifact_of(item.as_json()) == kind.artifact_name()
    assert artifact_of({"area_km2": {}, "path": "a.tif"}) == "map"
    assert artifact_of({"x": 1}) is None
    assert issubclass(DataError, C2SegError)
