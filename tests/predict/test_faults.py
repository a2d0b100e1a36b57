"""A full disk, a block that cannot be read, an image that is gone: one line, and the same command finishes the map."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from test_engine import CLASSES, Identity, scene_of
from test_mapping import KEY, LEGEND

from c2seg.cli import run
from c2seg.errors import C2SegError, DataError, OutputError
from c2seg.pipeline import fit
from c2seg.predict import MapOptions, WindowPlan, predict_scene
from c2seg.recipes import load_recipe

PLAN = WindowPlan(600, 600, 64, 16)


def noise():
    return scene_of(np.random.default_rng(0).random((CLASSES, 600, 600)).astype(np.float32))


def map_noise(path, reader=None):
    options = MapOptions(path, probabilities=path.with_name("p.tif"), preview=path.with_name("v.png"))
    return predict_scene(reader or noise(), Identity(), PLAN, LEGEND, options, KEY)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    map_noise(folder / "map.tif")
    return folder


def same(folder, whole):
    return all((folder / name).read_bytes() == (whole / name).read_bytes() for name in ("map.tif", "p.tif", "v.png"))


@pytest.mark.parametrize("room", [0, 40, 20_000, 200_000, 340_000])
def test_a_disk_that_fills_up_while_rows_are_written(tmp_path, whole, monkeypatch, room):
    left = [room]
    real = os.pwrite

    def pwrite(descriptor, data, offset):
        taken = min(len(data), left[0])
        if not taken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left[0] -= taken
        return real(descriptor, data[:taken], offset)

    out = tmp_path / "map.tif"
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", pwrite)
        with pytest.raises(OutputError, match="No space left"):
            map_noise(out)
    assert not out.exists()
    result = map_noise(out)
    assert (result.resumed_strips > 0) == (room > 100_000)
    assert same(tmp_path, whole)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB: rows fit (1.4 MB), the final files do not."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("this user may not mount a small file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_fills_up_while_the_files_are_written(small_disk, whole):
    out = small_disk / "map.tif"
    with pytest.raises(OutputError, match="cannot write") as caught:
        map_noise(out)
    assert len(str(caught.value).splitlines()) == 1
    assert not out.exists()
    assert not (small_disk / "p.tif").exists()
    subprocess.run(["mount", "-o", "remount,size=20m", small_disk], check=True)
    result = map_noise(out)
    assert result.resumed_strips == len(PLAN.rows)
    assert same(small_disk, whole)


def test_a_file_that_reads_back_differently_is_not_published(tmp_path, whole, monkeypatch):
    real = rasterio.shutil.copy

    def torn(source, path, **kwargs):
        real(source, path, **kwargs)
        data = bytearray(path.read_bytes())
        middle = len(data) // 2
        data[middle : middle + 2000] = bytes(2000)
        path.write_bytes(data)

    out = tmp_path / "map.tif"
    with monkeypatch.context() as patched:
        patched.setattr(rasterio.shutil, "copy", torn)
        with pytest.raises(OutputError, match="reads back differently"):
            map_noise(out)
    assert not out.exists()
    assert map_noise(out).resumed_strips == len(PLAN.rows)
    assert same(tmp_path, whole)


def test_a_reader_that_fails_leaves_the_ledger_whole(tmp_path, whole):
    reader = noise()

    class Failing:
        scene = reader.scene

        def __call__(self, window):
            if window.row > 300:
                raise DataError("cannot read msi.tif at rows 301..364")
            return reader(window)

    out = tmp_path / "map.tif"
    with pytest.raises(C2SegError, match="cannot read msi"):
        map_noise(out, Failing())
    finished = (tmp_path / ".map.tif.scratch" / "ledger.jsonl").read_text().count('"strip"')
    assert finished == sum(row <= 300 for row in PLAN.rows)
    assert map_noise(out).resumed_strips == finished
    assert same(tmp_path, whole)


@pytest.fixture
def forest(make_city, tmp_path):
    settings = ["model.trees=5", "validation.folds=0", "prediction.window_px=64", "normalization=source"]
    fit(load_recipe("forest", "tiny", settings), [make_city("source", seed=1)], tmp_path / "run")
    return tmp_path / "run" / "model.safetensors"


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_a_block_that_cannot_be_read(forest, make_city, tmp_path, capsys, workers):
    city = make_city("target", seed=2, height=400, width=300)
    msi = city / "msi.tif"
    with rasterio.open(msi) as dataset:
        values, profile = dataset.read(), dataset.profile
    profile.update(tiled=True, blockxsize=64, blockysize=64, compress="deflate", interleave="pixel")
    with rasterio.open(msi, "w", **profile) as dataset:
        dataset.write(values)
    intact = msi.read_bytes()
    arguments = ["predict", str(forest), str(city), "--quiet", "--workers", workers, "--out"]
    assert run([*arguments, str(tmp_path / "whole.tif")]) == 0
    damaged = bytearray(intact)
    with rasterio.open(msi) as dataset:
        place = int(dataset.get_tag_item("BLOCK_OFFSET_1_4", "TIFF", bidx=1))
    damaged[place : place + 400] = bytes(400)
    msi.write_bytes(damaged)
    capsys.readouterr()
    out = tmp_path / "map.tif"
    assert run([*arguments, str(out)]) == 2
    error = capsys.readouterr().err
    assert "msi.tif at rows" in error
    assert "truncated or damaged" in error
    assert len(error.splitlines()) == 1
    assert not out.exists()
    msi.write_bytes(intact)
    assert run([*arguments, str(out)]) == 0
    assert out.read_bytes() == (tmp_path / "whole.tif").read_bytes()


def test_an_image_that_vanishes(forest, make_city, tmp_path, capsys, monkeypatch):
    """The image goes away in the middle of the run, as when a network drive does, and comes back."""
    from c2seg.raster import RasterFile

    city = make_city("target", seed=2, height=400, width=300)
    arguments = ["predict", str(forest), str(city), "--quiet", "--out"]
    assert run([*arguments, str(tmp_path / "whole.tif")]) == 0
    real = RasterFile.read

    def read(self, window):
        if window.row > 150 and window.height != 144 and self.path.name == "sar.tif" and self.path.exists():
            shutil.move(city / "sar.tif", tmp_path / "sar.tif")
        if not self.path.exists():
            self.close()
        return real(self, window)

    out = tmp_path / "map.tif"
    with monkeypatch.context() as patched:
        patched.setattr(RasterFile, "read", read)
        assert run([*arguments, str(out)]) == 2
    error = capsys.readouterr().err
    assert error.endswith("sar.tif does not exist\n")
    assert len(error.splitlines()) == 1
    assert (tmp_path / ".map.tif.scratch" / "ledger.jsonl").read_text().count('"strip"') > 0
    assert run([*arguments, str(out)]) == 2  # still gone: said at once
    shutil.move(tmp_path / "sar.tif", city / "sar.tif")
    assert run([*arguments, str(out)]) == 0
    assert out.read_bytes() == (tmp_path / "whole.tif").read_bytes()
