"""What 0.1.0 left on disk is read in the present layout (files made by that version's own commands)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from c2seg.artifacts import MapRecord, RunRecord, ScoreRecord, StripsKey, ValidationRecord, read_model_file
from c2seg.artifacts.benchmark import BenchmarkResult
from c2seg.artifacts.upgrade import artifact_of, upgraded_map
from c2seg.report.runs import open_runs

RELEASED = Path(__file__).parents[1] / "released" / "0.1.0"
needs_files = pytest.mark.skipif(not RELEASED.is_dir(), reason="the files of 0.1.0 are not there")
MODELS = sorted(path.relative_to(RELEASED) for path in RELEASED.rglob("model.*"))


@needs_files
@pytest.mark.parametrize("path", MODELS, ids=str)
def test_models_open(path):
    model = read_model_file(RELEASED / path)
    header = model.header
    assert header.schema_number == 1
    assert header.provenance.c2seg == "0.1.0"
    assert header.trained_classes
    assert set(header.statistics) == set(header.inputs)
    assert header.legend.label_maps
    assert model.tensors or model.graph
    record = RELEASED / path.parent / "record.json"
    assert RunRecord.read(record).run_id == header.provenance.run_id


@needs_files
def test_run_folders_open_and_maps_elsewhere_join_their_run(tmp_path):
    for name in ("forest", "unet", "crosscity", "members"):
        (run,) = open_runs([RELEASED / name])
        assert run.record.c2seg == "0.1.0"
        assert run.record.uses_target_images.normalization
        (entry,) = run.maps
        assert entry.trained.run_id == run.record.run_id == entry.record.run_id
        shutil.copytree(RELEASED / name / "maps", tmp_path / name)
        (joined,) = open_runs([RELEASED / name, tmp_path / name / "target.tif"])
        assert len(joined.maps) == 2
    assert RunRecord.read(RELEASED / "crosscity" / "record.json").source_check.labeled_pixels == 1024


@needs_files
def test_scores_validation_results_and_ledgers_open():
    scores = ScoreRecord.read(RELEASED / "forest" / "scores.json")
    assert scores.boundary.counts.reference
    assert scores.intervals.replicates == 20
    validation = ValidationRecord.read(RELEASED / "forest" / "validation.json")
    assert validation.scores.pixels == validation.confusion.pixels
    result = BenchmarkResult.read(next(RELEASED.rglob("result.json")))
    assert result.scores.miou is not None
    assert result.key.recipe.normalization == "per_city"
    ledger = next(RELEASED.rglob("ledger.jsonl")).read_text().splitlines()[0]
    assert StripsKey.parse(json.loads(ledger), "ledger").layers == ("ids",)
    for path in RELEASED.rglob("target.json"):
        assert artifact_of(json.loads(path.read_text())) == "map"
        assert MapRecord.read(path).area_km2


def test_fused_maps_open():
    old = {
        "path": "f.tif", "pixels": 3, "nodata_pixels": 1, "area_km2": {"Water": 0.1}, "seconds": 1.0, "soft": False,
        "rules": [{"class": 2, "name": "Street", "expert": "e.tif", "held": 3, "changed": 1}], "threshold": None,
        "maps": [{"path": "a.tif", "fingerprint": "x", "weight": 1.0}], "run": None,
    }  # fmt: skip
    record = MapRecord.model_validate(upgraded_map(old))
    assert record.fusion.rules[0].class_id == 2
    assert np.isclose(record.area_km2["Water"], 0.1)
