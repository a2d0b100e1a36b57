"""Layers in parts that tasks write: one process, workers, folders of other places; stopped, killed and damaged."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rioxarray
from test_engine import CLASSES, Identity, scene_of
from test_mapping import LEGEND, DiesAt

from c2seg.artifacts import MapKey
from c2seg.errors import C2SegError, InputError, OutputError
from c2seg.predict import MapOptions, WindowPlan, predict_scene
from c2seg.predict.parts import StripParts
from c2seg.predict.places import strip_parts
from c2seg.raster import open_raster, stored

PLAN = WindowPlan(100, 40, 24, 4)
LAYERS = {"probabilities": "p", "confidence": "c", "runner_up": "s"}


def build():
    values = np.random.default_rng(0).random((CLASSES, 100, 40)).astype(np.float32)
    reader = scene_of(values / values.sum(axis=0))
    transform = rasterio.Affine(10, 0, 500_000, 0, -10, 5_800_000)
    grid = replace(reader.scene.grid, transform=transform, crs=rasterio.CRS.from_epsg(32633).to_wkt())
    return replace(reader, scene=replace(reader.scene, grid=grid)), Identity()


def options_of(folder, suffix=".tif", **more):
    folder.mkdir(exist_ok=True)
    layers = {name: folder / f"{letter}{suffix}" for name, letter in LAYERS.items()}
    return MapOptions(folder / "map.tif", **layers, **more)


def predict(options, predictor=None, make=build):
    reader, identity = build()
    return predict_scene(reader, predictor or identity, PLAN, LEGEND, options, MapKey(model="m"), build=make)


def files(folder):
    """Return the bytes of all files in a folder and below, but the record, which tells times."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*") if path.is_file() and path.suffix != ".json"
    }  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "map"
    predict(options_of(folder))
    return files(folder)


@pytest.fixture(scope="module")
def in_parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts") / "map"
    predict(options_of(folder, ".vrt"))
    return folder


def test_where_the_parts_lie_changes_no_byte(tmp_path, whole):
    assert set(whole) == {"map.tif", "map.tif.aux.xml", "map.qml", "p.tif", "c.tif", "c.qml", "s.tif"}
    predict(options_of(tmp_path / "map", parts_folder=tmp_path / "shared"))
    assert files(tmp_path / "map") == whole
    assert list((tmp_path / "shared").iterdir()) == []


def test_workers_write_the_parts(tmp_path, whole, in_parts):
    predict(options_of(tmp_path / "tif", workers=2))
    assert files(tmp_path / "tif") == whole
    predict(options_of(tmp_path / "vrt", ".vrt", workers=2))
    assert files(tmp_path / "vrt") == files(in_parts)


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # of rioxarray
def test_a_layer_that_stays_in_parts_opens_as_one_raster(tmp_path, whole, in_parts):
    names = {path.name for path in in_parts.iterdir()}
    assert names == {
        "map.tif",
        "map.tif.aux.xml",
        "map.qml",
        "map.json",
        *(f"{n}.{e}" for n in "pcs" for e in ("vrt", "parts")),
    }
    (tmp_path / "p.tif").write_bytes(whole["p.tif"])
    with rasterio.open(tmp_path / "p.tif") as one, rasterio.open(in_parts / "p.vrt") as parts:
        np.testing.assert_array_equal(one.read(), parts.read())
        assert (one.crs, one.transform, one.nodata) == (parts.crs, parts.transform, parts.nodata)
        assert one.descriptions == parts.descriptions == LEGEND.names
        assert one.tags().items() >= parts.tags().items() >= {"SOFTWARE": "c2seg", "MODEL": "m"}.items()
    with open_raster(in_parts / "p.vrt") as dataset, rioxarray.open_rasterio(in_parts / "p.vrt") as array:
        np.testing.assert_array_equal(dataset.read(), array.values)
        assert array.rio.crs.to_epsg() == 32633
    parts = sorted((in_parts / "p.parts").rglob("*.tif"))
    assert len(parts) == len(PLAN.rows)
    with rasterio.open(parts[2]) as part:  # useful alone
        assert part.transform.f == 5_800_000 - 10 * PLAN.rows[2]
        assert part.descriptions == LEGEND.names


def test_a_new_map_replaces_the_parts_of_the_older_one(tmp_path, in_parts):
    folder = tmp_path / "map"
    options = options_of(folder, ".vrt")
    reader, identity = build()
    predict_scene(reader, identity, PLAN, LEGEND, options, MapKey(model="older"))
    (folder / "p.parts" / "notes").mkdir()
    with pytest.raises(OutputError, match="exists already"):
        predict(options)
    predict(replace(options, overwrite=True))
    (folder / "p.parts" / "notes").rmdir()  # not of c2seg: it stayed
    assert files(folder) == files(in_parts)


def torn(path):
    path.write_bytes(path.read_bytes()[:-100])


def changed(path):
    data = bytearray(path.read_bytes())
    data[-50] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [Path.unlink, torn, changed])
@pytest.mark.parametrize("suffix", [".tif", ".vrt"])
def test_a_part_that_is_not_as_it_was_written_is_computed_again(tmp_path, whole, in_parts, damage, suffix, caplog):
    options = options_of(tmp_path / "map", suffix, parts_folder=tmp_path / "shared")
    with pytest.raises(KeyboardInterrupt):
        predict(options, DiesAt(9))
    finished = (tmp_path / "map" / ".map.tif.scratch" / "ledger.jsonl").read_text().count('"strip"')
    damage(sorted(tmp_path.rglob("000001.tif"))[0])
    assert predict(options).resumed_strips == finished - 1
    assert "1 strips" in caplog.text
    assert files(tmp_path / "map") == (whole if suffix == ".tif" else files(in_parts))


def test_parts_in_another_place_are_computed_again(tmp_path, whole):
    options = options_of(tmp_path / "map", parts_folder=tmp_path / "shared")
    with pytest.raises(KeyboardInterrupt):
        predict(options, DiesAt(9))
    assert predict(replace(options, parts_folder=tmp_path / "elsewhere")).resumed_strips == 0
    assert files(tmp_path / "map") == whole


def killing_build(folder):
    """Return what ``build`` does, where the first process that has written half of a part is killed."""
    real = os.replace

    def replace_once(source, target):
        once = folder / "killed"
        if Path(target).name == "000003.tif" and not once.exists():
            once.touch()
            os.truncate(source, 100)
            os.kill(os.getpid(), signal.SIGKILL)
        real(source, target)

    stored.os.replace = replace_once
    return build()


def test_a_worker_killed_while_it_writes_a_part_leaves_none(tmp_path, whole, in_parts):
    for suffix, expected in ((".tif", whole), (".vrt", files(in_parts))):
        folder = tmp_path / suffix[1:]
        folder.mkdir()
        (tmp_path / "killed").unlink(missing_ok=True)
        predict(options_of(folder, suffix, workers=2), make=partial(killing_build, tmp_path))
        assert (tmp_path / "killed").exists()
        assert files(folder) == expected


def test_a_worker_that_does_not_see_the_folder_is_told(tmp_path):
    def parts_of(name):
        options = options_of(tmp_path / name, parts_folder=tmp_path / "shared")
        return strip_parts(options, MapKey(), build()[0].scene.grid, LEGEND, on_this_machine=False)

    parts = parts_of("one")
    parts.open()
    parts.check_seen()
    assert parts.by_tasks == parts.names
    with pytest.raises(InputError, match=r"a worker does not see the folder .*shared"):
        parts_of("two").check_seen()
    StripParts().check_seen()


def test_what_workers_may_not_see_they_return(tmp_path):
    options = options_of(tmp_path / "map")
    options = replace(options, probabilities=tmp_path / "map" / "p.vrt")
    parts = strip_parts(options, MapKey(), build()[0].scene.grid, LEGEND, on_this_machine=False)
    assert parts.by_tasks == {"probabilities"}
    assert parts.names == set(LAYERS)


def test_a_full_disk_of_parts(tmp_path, whole, monkeypatch):
    options = options_of(tmp_path / "map", parts_folder=tmp_path / "shared")

    def full(*_):
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patched:
        patched.setattr(stored.os, "replace", full)
        with pytest.raises(OutputError, match=r"cannot write .*shared.*No space left.*make room"):
            predict(options)
    predict(options)
    assert files(tmp_path / "map") == whole


@pytest.mark.parametrize(
    ("free", "said"), [(5_000, None), (60_000, "may be too small"), (10**9, "the map needs 9.33 kB")]
)
def test_the_room_is_told_before_the_work(tmp_path, monkeypatch, caplog, free, said):
    caplog.set_level("INFO", logger="c2seg.predict.room")
    monkeypatch.setattr("c2seg.predict.room._free", lambda _: free)
    predictor = Identity()
    if said is None:
        with pytest.raises(OutputError, match=r"disk is too small: the map needs 9.33 kB to .* where 5 kB are free"):
            predict(options_of(tmp_path / "map"), predictor)
        assert predictor.calls == 0
    else:
        predict(options_of(tmp_path / "map"), predictor)
        assert said in caplog.text


@pytest.mark.slow
def test_workers_of_a_cluster_write_the_parts_or_return_them(tmp_path, whole, in_parts):
    pytest.importorskip("distributed")
    predict(options_of(tmp_path / "returned", cluster="local:2"))
    assert files(tmp_path / "returned") == whole
    predict(options_of(tmp_path / "written", cluster="local:2", parts_folder=tmp_path / "shared"))
    assert files(tmp_path / "written") == whole
    predict(options_of(tmp_path / "staying", ".vrt", cluster="local:2"))
    assert files(tmp_path / "staying") == files(in_parts)


def test_lost_again_and_again_ends_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("c2seg.predict.parts.stored_marks", lambda _: {})
    with pytest.raises(C2SegError, match="not read as they were written"):
        predict(options_of(tmp_path / "map"))
