"""Whatever is changed in the files of a stopped map, the finished one is that of a run that nobody disturbed."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from test_engine import CLASSES, Identity, scene_of
from test_mapping import KEY, LEGEND, DiesAt

import c2seg.predict.scratch as scratch
from c2seg.errors import OutputError
from c2seg.predict import MapOptions, WindowPlan, predict_scene
from helpers.damage import DAMAGES, damage

PLAN = WindowPlan(80, 50, 16, 4)
FILES = ("map.tif", "p.tif", "c.tif", "s.tif", "v.png")
FOLDER = ".map.tif.scratch"


def predict(folder, predictor=None, **more):
    rng = np.random.default_rng(0)
    valid = np.ones((80, 50), bool)
    valid[:10, :20] = False
    array = rng.random((CLASSES, 80, 50)).astype(np.float32)
    layers = {"probabilities": "p.tif", "confidence": "c.tif", "runner_up": "s.tif", "preview": "v.png"}
    options = MapOptions(folder / "map.tif", **{name: folder / file for name, file in layers.items()}, **more)
    reader = scene_of(array / array.sum(axis=0), valid=valid)
    return predict_scene(reader, predictor or Identity(), PLAN, LEGEND, options, KEY)


def content(folder):
    """Return the bytes of the files, and what the map's record says of its pixels."""
    record = json.loads((folder / "map.json").read_text())
    return [(folder / name).read_bytes() for name in FILES], record["area_km2"], record["nodata_pixels"]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """Return a folder with a map that was stopped after most of its strips."""
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.raises(KeyboardInterrupt):
        predict(folder, DiesAt(22))
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    predict(folder)
    return content(folder)


def finish_damaged(stopped, folder, seed):
    """Damage one file of the stopped map; finish it and return how many strips were resumed."""
    shutil.copytree(stopped, folder)
    rng = np.random.default_rng(seed)
    files = sorted(path for path in (folder / FOLDER).rglob("*") if path.is_file())
    damage(files[rng.integers(len(files))], DAMAGES[seed % len(DAMAGES)], rng)
    return predict(folder).resumed_strips


def test_what_is_not_damaged_is_resumed(stopped, whole, tmp_path):
    shutil.copytree(stopped, tmp_path / "map")
    assert predict(tmp_path / "map").resumed_strips >= 4
    assert content(tmp_path / "map") == whole


@pytest.mark.parametrize("seed", range(24))
def test_damage_gives_the_same_map(stopped, whole, tmp_path, seed):
    finish_damaged(stopped, tmp_path / "map", seed)
    assert content(tmp_path / "map") == whole


@pytest.mark.slow
def test_much_damage_gives_the_same_map(stopped, whole, tmp_path):
    for seed in range(24, 624):
        finish_damaged(stopped, tmp_path / str(seed), seed)
        assert content(tmp_path / str(seed)) == whole, seed
        shutil.rmtree(tmp_path / str(seed))


def test_only_the_damaged_strip_is_computed_again(stopped, whole, tmp_path, caplog):
    shutil.copytree(stopped, tmp_path / "map")
    rows = tmp_path / "map" / FOLDER / "ids.bin"
    data = bytearray(rows.read_bytes())
    data[50 * 14] ^= 1
    rows.write_bytes(data)
    predictor = Identity()
    finished = (tmp_path / "map" / FOLDER / "ledger.jsonl").read_text().count('"strip"')
    assert predict(tmp_path / "map", predictor).resumed_strips == finished - 1
    assert "1 strips" in caplog.text
    assert content(tmp_path / "map") == whole


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("counts", [1] * 256), ("counts", [-1] * 256), ("counts", [4]), ("counts", "many"), ("strip", 0), ("strip", -1),
        ("strip", 10**30), ("strip", None), ("expected", [float("nan")]), ("checksums", {}), ("checksums", {"ids": 0}),
        ("checksum", 0), ("to_come", 1),
    ],
)  # fmt: skip
def test_right_json_with_wrong_content_does_not_count(stopped, whole, tmp_path, name, value):
    shutil.copytree(stopped, tmp_path / "map")
    ledger = tmp_path / "map" / FOLDER / "ledger.jsonl"
    key, first, second, *rest = ledger.read_text().splitlines()
    assert json.loads(second) | {name: value} != json.loads(second)
    ledger.write_text("\n".join([key, first, json.dumps(json.loads(second) | {name: value}), *rest, ""]))
    assert predict(tmp_path / "map").resumed_strips == 1 + len(rest)  # the lines behind it count
    assert content(tmp_path / "map") == whole


@pytest.mark.parametrize("line", ["[]", "[" * 100_000, '{"layers": 4}', '{"layers": [1, "a"]}', "null", "\0", ""])
def test_a_first_line_of_anything_starts_afresh(stopped, whole, tmp_path, line):
    shutil.copytree(stopped, tmp_path / "map")
    ledger = tmp_path / "map" / FOLDER / "ledger.jsonl"
    ledger.write_text("\n".join([line, *ledger.read_text().splitlines()[1:], ""]))
    assert scratch.pending_key(tmp_path / "map" / "map.tif") is None
    assert predict(tmp_path / "map").resumed_strips == 0
    assert content(tmp_path / "map") == whole


def test_lines_of_another_map_do_not_count(stopped, whole, tmp_path):
    """Its rows may be the same where its pixels are not: under another key a ledger's lines are void."""
    for name in ("one", "other"):
        shutil.copytree(stopped, tmp_path / name)
    ledger = tmp_path / "one" / FOLDER / "ledger.jsonl"
    key, *lines = ledger.read_text().splitlines()
    assert key.count('"abc"') == 1
    ledger.write_text("\n".join([key.replace('"abc"', '"abd"'), *lines, ""]))
    assert predict(tmp_path / "one").resumed_strips == 0
    assert content(tmp_path / "one") == whole


def test_cleaned_maps_are_of_whole_rows(stopped, tmp_path):
    shutil.copytree(stopped, tmp_path / "map")
    (tmp_path / "whole").mkdir()
    predict(tmp_path / "whole", min_area_px=3)
    with pytest.raises(KeyboardInterrupt):
        predict(tmp_path / "map", DiesAt(22), min_area_px=3)
    rows = tmp_path / "map" / FOLDER / "ids.bin"
    rows.write_bytes(bytes(reversed(rows.read_bytes())))
    predict(tmp_path / "map", min_area_px=3)
    assert content(tmp_path / "map") == content(tmp_path / "whole")


def test_a_disk_that_never_returns_what_was_written(tmp_path, monkeypatch):
    real = scratch.RowFiles.read
    monkeypatch.setattr(scratch.RowFiles, "read", lambda *arguments: real(*arguments) ^ np.uint8(1))
    with pytest.raises(OutputError, match="not read as they were written"):
        predict(tmp_path)
    assert not (tmp_path / "map.tif").exists()
