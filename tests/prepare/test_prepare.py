"""Products to a city: pixels, provenance, the same bytes however they are made, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS

import c2seg
from c2seg import DataError, InputError, OutputError, open_city, prepare_city
from c2seg.cli import run
from c2seg.prepare import PrepareRecord
from c2seg.types import Grid
from helpers.clusters import UserCluster
from helpers.prepare_make import grid_of, pattern, write_raster

FINE = grid_of(620, 10, 400_000, 5_800_000, 32633)
COARSE = grid_of(240, 30, 399_990, 5_800_020, 32633)
DEGREES = Grid(500, 700, Affine(2e-4, 0, 13.51, 0, -2e-4, 52.36), CRS.from_epsg(4326).to_wkt())
NAMES = ("blue", "green", "red", "nir")
FILES = ["city.yaml", "hsi.tif", "msi.tif", "prepare.json", "preview.png", "sar.tif", "valid.tif"]


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def deliveries(tmp_path_factory):
    """Return products by modality: reflectance with clouds as 0, a cube of 30 m, power in degrees."""
    folder = tmp_path_factory.mktemp("deliveries")
    msi = pattern(620)
    msi[:, 100:160, 200:290] = 0
    rng = np.random.default_rng(5)
    sar = rng.gamma(4, 0.02, (2, 500, 700)).astype(np.float32)
    cube = pattern(240, 50).astype(np.int16)
    return {
        "msi": write_raster(folder / "msi.tif", msi, FINE, names=NAMES, scale=1e-4, offset=-0.1, nodata=0),
        "hsi": write_raster(folder / "hsi.tif", cube, COARSE, names=[f"{400 + 10 * i} nm" for i in range(50)], scale=1e-4),
        "sar": write_raster(folder / "sar.tif", sar, DEGREES, names=("VV", "VH")),
    }  # fmt: skip


@pytest.fixture(scope="module")
def city(deliveries, tmp_path_factory):
    out = tmp_path_factory.mktemp("city") / "town"
    return prepare_city(out, **deliveries, sar_unit="power")


def test_what_comes_out_opens_as_a_city(city):
    assert sorted(contents(city.path)) == FILES
    scene = open_city(city.path).images.scenes[0]
    assert {name: len(stack.bands) for name, stack in scene.modalities.items()} == {"msi": 4, "hsi": 50, "sar": 2}
    assert [band.role for band in scene.modalities["msi"].bands] == list(NAMES)
    assert [band.role for band in scene.modalities["sar"].bands] == ["vv", "vh"]
    assert scene.modalities["hsi"].bands[7].wavelength_nm == 470
    assert scene.modalities["hsi"].relation.ratio == 3
    assert scene.grid.transform.c % 10 == 0


def test_pixels_are_those_of_the_products(city, deliveries):
    with rasterio.open(deliveries["msi"]) as native, rasterio.open(city.path / "msi.tif") as made:
        part = Grid(made.height, made.width, ~native.transform @ made.transform)
        row, col = round(part.transform.f), round(part.transform.c)
        padded = np.pad(native.read(), ((0, 0), (50, 50), (50, 50)))
        expected = padded[:, row + 50 : row + 50 + made.height, col + 50 : col + 50 + made.width]
        reflectance = made.read() * made.scales[0]
        valid = made.read_masks(1) > 0
        assert made.units == ("reflectance",) * 4
    assert np.array_equal(valid, (expected != 0).all(axis=0))
    assert np.abs(reflectance - (expected * 1e-4 - 0.1))[:, valid].max() < 1e-6
    scene = open_city(city.path).images.scenes[0]
    values, _ = scene.read("sar", scene.grid.window)
    assert -20 < np.median(values) < -5


def test_valid_is_where_all_modalities_are(city):
    scene = open_city(city.path).images.scenes[0]
    masks = [scene.read(name, scene.grid.window)[1] for name in ("msi", "hsi", "sar")]
    with rasterio.open(city.path / "valid.tif") as file:
        valid = file.read(1).astype(bool)
    assert 0.5 < valid.mean() < 1
    assert np.array_equal(valid, np.logical_and.reduce(masks))


def test_the_record_tells_everything(city, deliveries):
    record = PrepareRecord.read(city.path / "prepare.json")
    assert record == city.record
    assert [product.modality for product in record.products] == ["msi", "hsi", "sar"]
    assert all(len(file.digest) == 32 for product in record.products for file in product.files)
    assert record.products[0].processing["offsets"] == [-0.1] * 4
    assert {file.name for file in record.outputs} == set(FILES) - {"prepare.json"}
    assert record.steps[0].step == "grid"
    assert {"warp msi", "store hsi", "valid"} <= {step.step for step in record.steps}
    assert str(deliveries["msi"].parent) not in (city.path / "prepare.json").read_text()


def test_files_are_cloud_optimized(city):
    from rio_cogeo import cog_validate

    for name in ("msi.tif", "hsi.tif", "sar.tif", "valid.tif"):
        valid, errors, _ = cog_validate(city.path / name)
        assert valid, errors


def test_again_and_by_several_processes_no_byte_changes(city, deliveries, tmp_path):
    before = contents(city.path)
    assert prepare_city(city.path, **deliveries, sar_unit="power").state == "up to date"
    assert contents(city.path) == before
    out = tmp_path / "town"
    assert prepare_city(out, **deliveries, sar_unit="power", workers=2).state == "made"
    assert contents(out) == before


@pytest.mark.slow
def test_workers_of_a_cluster_change_no_byte(city, deliveries, tmp_path):
    pytest.importorskip("distributed")
    (tmp_path / "cluster").mkdir()
    out = tmp_path / "town"
    with UserCluster(tmp_path / "cluster") as cluster:
        cluster.start_worker()
        assert prepare_city(out, **deliveries, sar_unit="power", cluster=cluster.address).state == "made"
    assert contents(out) == contents(city.path)


def test_other_parameters_need_a_word(city, deliveries):
    before = contents(city.path)
    with pytest.raises(OutputError, match=r"other inputs or with other parameters.*overwrite=True"):
        prepare_city(city.path, **deliveries, sar_unit="power", kernel="cubic")
    assert contents(city.path) == before


def test_overwriting_removes_what_is_not_made_again(deliveries, tmp_path):
    out = tmp_path / "town"
    prepare_city(out, msi=deliveries["msi"], sar=deliveries["sar"], sar_unit="power", resolution=40)
    (out / "notes.txt").write_text("mine")
    prepare_city(out, msi=deliveries["msi"], resolution=40, overwrite=True)
    assert sorted(contents(out)) == ["city.yaml", "msi.tif", "notes.txt", "prepare.json", "preview.png", "valid.tif"]


def test_a_changed_output_is_noticed(deliveries, tmp_path):
    out = tmp_path / "town"
    prepare_city(out, msi=deliveries["msi"], resolution=40)
    whole = (out / "valid.tif").read_bytes()
    (out / "valid.tif").write_bytes(whole + b"\0")
    with pytest.raises(OutputError, match="its files were changed"):
        prepare_city(out, msi=deliveries["msi"], resolution=40)
    prepare_city(out, msi=deliveries["msi"], resolution=40, overwrite=True)
    assert (out / "valid.tif").read_bytes() == whole


def test_a_dry_run_writes_nothing(deliveries, tmp_path, capsys):
    arguments = ["prepare", str(tmp_path / "town"), "--msi", str(deliveries["msi"]), "--resolution", "20", "--dry-run"]
    assert run([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["state"] == "planned"
    assert told["grid"]["height"] == 310
    assert not any(tmp_path.iterdir())
    assert run(arguments) == 0
    assert "310 x 310 pixels of 20 m in EPSG:32633" in capsys.readouterr().out


def test_an_area_on_a_grid_of_another_zone(deliveries, tmp_path):
    city = prepare_city(
        tmp_path / "town", msi=deliveries["msi"], bounds=(13.54, 52.31, 13.58, 52.33), crs="EPSG:32632", resolution=15
    )
    assert city.record.grid.epsg == 32632
    assert city.record.outputs[0].valid_share > 0.9


def test_dates_fill_each_other(deliveries, tmp_path):
    clear = pattern(620, seed=3)
    second = write_raster(tmp_path / "clear.tif", clear, FINE, names=NAMES, scale=1e-4, offset=-0.1, nodata=0)
    for how in ("best", "median"):
        prepare_city(tmp_path / how, msi=[deliveries["msi"], second], composite=how)
    with rasterio.open(deliveries["msi"]) as file:
        first = file.read().astype(float)
    clouds = first[0] == 0
    expected = {"best": np.where(clouds, clear, first), "median": np.where(clouds, clear, (first + clear) / 2)}
    for how, values in expected.items():
        with rasterio.open(tmp_path / how / "msi.tif") as file:
            assert np.abs(file.read() - (values - 1000)).max() <= 0.5


def test_what_cannot_be_is_told_in_one_line(deliveries, tmp_path):
    out, msi = tmp_path / "town", deliveries["msi"]
    with pytest.raises(InputError, match="give at least one product"):
        prepare_city(out)
    with pytest.raises(DataError, match=r"`msi`: msi\.tif does not touch the area; it covers 13\.5"):
        prepare_city(out, msi=msi, bounds=(15.0, 52.0, 15.1, 52.1))
    with pytest.raises(InputError, match=r"`bands`: .* has no band 'swir'; it has blue"):
        prepare_city(out, msi=msi, bands=("red", "swir"))
    with pytest.raises(DataError, match="does not exist"):
        prepare_city(out, msi=tmp_path / "nothing.SAFE")
    (tmp_path / "text.doc").write_text("no raster")
    with pytest.raises(DataError, match="is no product that c2seg knows; it looks for"):
        prepare_city(out, msi=tmp_path / "text.doc")
    three = write_raster(tmp_path / "three.tif", pattern(620, 3), FINE, scale=1e-4)
    with pytest.raises(DataError, match=r"`msi`: three\.tif has bands band 1, band 2, band 3, msi\.tif has blue"):
        prepare_city(out, msi=[msi, three])
    dark = write_raster(tmp_path / "dark.tif", np.zeros((4, 620, 620), np.uint16), FINE, nodata=0)
    with pytest.raises(DataError, match=r"`msi`: no pixel of the area is valid in dark\.tif: clouds or fill"):
        prepare_city(out, msi=dark)
    assert not out.exists()
    assert not (tmp_path / ".town.scratch").exists()
    cut = write_raster(tmp_path / "cut.tif", pattern(620), FINE, compress="deflate")
    cut.write_bytes(cut.read_bytes()[:200_000])
    for workers in (1, 2):
        with pytest.raises(DataError, match=r"cannot read .*cut\.tif at rows .* truncated or damaged") as caught:
            prepare_city(out, msi=cut, workers=workers)
        assert "\n" not in str(caught.value)
    assert not out.exists()


KILLED = """
import os, signal, sys
from c2seg import prepare_city

def bars(label):
    def show(done, total, text=""):
        if label == sys.argv[3] and done > total * float(sys.argv[4]):
            os.kill(os.getpid(), signal.SIGKILL)
    return show

if __name__ == "__main__":
    prepare_city(sys.argv[1], msi=sys.argv[2], resolution=5, workers=int(sys.argv[5]), progress=bars)
"""


@pytest.mark.parametrize(
    ("label", "share", "workers"),
    [
        ("warp", 0.2, 1),
        pytest.param("warp", 0.2, 2, marks=pytest.mark.slow),
        pytest.param("write", 0.5, 1, marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_resumes(deliveries, tmp_path, label, share, workers):
    script, out = tmp_path / "kill.py", tmp_path / "out" / "town"
    script.write_text(KILLED)
    source = str(c2seg.__path__[0] + "/..")
    arguments = [str(out), str(deliveries["msi"]), label, str(share), str(workers)]
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])},
        check=False,
        capture_output=True,
    )
    assert done.returncode == -9, done.stderr
    assert not (out / "prepare.json").exists()
    began = []

    def bars(name):
        return lambda done, total, text="": began.append(done / total) if name == "warp" and not began else None

    prepare_city(out, msi=deliveries["msi"], resolution=5, progress=bars)
    assert began[0] > share if label == "warp" else began[0] == 1
    prepare_city(tmp_path / "whole" / "town", msi=deliveries["msi"], resolution=5)
    assert contents(out) == contents(tmp_path / "whole" / "town")
    assert sorted(path.name for path in out.parent.iterdir()) == ["town"]


def test_damaged_pieces_are_computed_again(deliveries, tmp_path, monkeypatch):
    from c2seg.prepare.scratch import LayerFile

    read, damaged = LayerFile.read, []

    def once(self, window):
        stored, valid = read(self, window)
        if not damaged:
            damaged.append(window)
            stored = stored + 1
        return stored, valid

    monkeypatch.setattr(LayerFile, "read", once)
    prepare_city(tmp_path / "a" / "town", msi=deliveries["msi"])
    monkeypatch.undo()
    prepare_city(tmp_path / "b" / "town", msi=deliveries["msi"])
    assert damaged
    assert contents(tmp_path / "a" / "town") == contents(tmp_path / "b" / "town")


def test_measured_shifts_are_undone_when_asked(tmp_path, deliveries):
    fields = pattern(720, 4, seed=9)
    moved = grid_of(720, 10, 400_000 - 500 + 20, 5_800_000 + 500 - 30, 32633)
    straight = grid_of(720, 10, 400_000 - 500, 5_800_000 + 500, 32633)
    msi = write_raster(tmp_path / "msi.tif", fields, straight, names=NAMES, scale=1e-4)
    other = write_raster(tmp_path / "moved.tif", fields, moved, names=NAMES, scale=1e-4)
    box = {"bounds": (13.535, 52.30, 13.60, 52.335), "crs": "EPSG:32633"}
    reported = prepare_city(tmp_path / "r", msi=msi, hsi=other, **box)
    (report,) = reported.record.registration
    assert (report["east_m"], report["north_m"]) == pytest.approx((20, -30), abs=1)
    assert not report["applied"]
    assert any("`align=True` undoes it" in note for note in reported.record.notes)
    aligned = prepare_city(tmp_path / "a", msi=msi, hsi=other, align=True, **box)
    assert aligned.record.registration[0]["applied"]
    with rasterio.open(tmp_path / "a" / "msi.tif") as one, rasterio.open(tmp_path / "a" / "hsi.tif") as two:
        both = (one.read_masks(1) > 0) & (two.read_masks(1) > 0)
        assert both.mean() > 0.8
        assert np.abs(one.read() - two.read(), dtype=float)[:, both].max() < 60
    assert aligned.record.products[1].shift_m != (0.0, 0.0)
