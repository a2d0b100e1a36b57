"""The participants' kit: everything in it opens, the sample entry is valid, and nothing withheld is in it."""

import contextlib
import io
import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import rasterio
import yaml

from c2seg.challenge import Board
from c2seg.challenge.codabench.archives import entry_archives
from c2seg.challenge.codabench.kit import make_kit
from c2seg.cli import run
from c2seg.data import open_city
from c2seg.errors import DataError, InputError
from c2seg.legend import Legend


@pytest.fixture(scope="module")
def kit(season, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kit")
    images = {name: season / name for name in ("AB", "B W")}
    make_kit(season / "board.sqlite", folder / "kit.zip", images=images)
    with zipfile.ZipFile(folder / "kit.zip") as archive:
        archive.extractall(folder / "kit")
    return folder / "kit"


def contents(data, name):
    """Yield name and bytes of everything in an archive, archives inside it included."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for inner in archive.namelist():
            yield f"{name}/{inner}", archive.read(inner)
            if inner.endswith(".zip"):
                yield from contents(archive.read(inner), f"{name}/{inner}")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_no_label_is_inside(kit, season):
    """Every raster of the kit is compared with every withheld label, whole and in tiles."""
    board = Board(season / "board.sqlite")
    tiles = [board.references(n).tile(i).labels for n in board.datasets for i in board.references(n).sizes]
    labels = [rasterio.open(season / name / "label.tif").read(1) for name in board.datasets]
    secrets = [array for array in (*tiles, *labels) if array.any()]
    files = dict(contents((kit.parent / "kit.zip").read_bytes(), "kit"))
    rasters = 0
    for name, data in files.items():
        assert not any(word in name.lower() for word in ("label", "reference", "truth", "sqlite")), name
        assert b"SQLite format 3" not in data
        assert all(array.tobytes() not in data for array in secrets)
        if name.endswith(".tif"):
            rasters += 1
            with rasterio.MemoryFile(data) as memory, memory.open() as dataset:
                bands = dataset.read()
            for array in secrets:
                assert not any(band.shape == array.shape and np.array_equal(band, array) for band in bands), name
    assert rasters == 2 + sum(len(board.tile_set(name).sizes) for name in board.datasets)


def test_everything_opens(kit, season, decoder, tmp_path):
    board = Board(season / "board.sqlite")
    facts = json.loads((kit / "datasets.json").read_text())
    for name in board.datasets:
        rows = board.references(name)
        assert facts[name]["tiles"] == {
            str(n): [w.row, w.col, w.height, w.width] for n, w in (rows.windows or {}).items()
        }
        with rasterio.open(season / name / "msi.tif") as source, rasterio.open(kit / f"images/{name}/msi.tif") as copy:
            assert np.array_equal(source.read(), copy.read())
        assert open_city(kit / f"images/{name}").scenes[0].grid.height == source.height
    assert Legend.from_dict(yaml.safe_load((kit / "legend.yaml").read_text()), "legend.yaml") == board.legend
    notebook = json.loads((kit / "baseline.ipynb").read_text())
    assert notebook["nbformat"] == 4
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            compile("".join(cell["source"]), "cell", "exec")
    with zipfile.ZipFile(kit / "sample_submission.zip") as archive:
        archive.extractall(tmp_path / "sample")
    sets = {name: board.tile_set(name) for name in board.datasets}
    counts = board.count_all(entry_archives(tmp_path / "sample", sets, tmp_path), decoder)
    assert all(counted.tiles.counts.trace() > 0 for counted in counts.values())


def test_the_reader_cuts_and_checks(kit, season, tmp_path):
    code = f"""
import numpy as np, rasterio, reader
ids = rasterio.open({str(season / "maps/AB.tif")!r}).read(1)
reader.write_archive("AB", ids, {str(tmp_path / "ab.zip")!r})
reader.check("AB", {str(tmp_path / "ab.zip")!r})
images = reader.read_images("images/AB")
assert list(images) == ["msi"] and images["msi"][0].shape == (4, 80, 70)
for name, array in (("B W", ids), ("AB", np.full_like(ids, 77))):
    reader.write_archive("AB", array, {str(tmp_path / "bad.zip")!r})
    try:
        reader.check(name, {str(tmp_path / "bad.zip")!r})
    except ValueError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=kit, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert "does not hold exactly the 6 tiles of B W" in first
    assert "no class ids" in second
    assert (
        run(["submit", "check", str(tmp_path / "ab.zip"), "--like", str(season / "AB"), "--tile-px", "32", "-q"]) == 0
    )


def test_what_a_kit_refuses(season, tmp_path):
    with pytest.raises(InputError, match="unknown data set 'XY'"):
        make_kit(season / "board.sqlite", tmp_path / "k.zip", images={"XY": season / "AB"})
    unlabeled = tmp_path / "city"
    unlabeled.mkdir()
    (unlabeled / "msi.tif").write_bytes((season / "AB/msi.tif").read_bytes())
    with pytest.raises(DataError, match="has no label"):
        make_kit(season / "board.sqlite", tmp_path / "k.zip", training={"City": unlabeled})
    assert [path.name for path in tmp_path.iterdir()] == ["city"]


@pytest.mark.slow
def test_the_notebook_makes_an_entry_that_scores(season, tmp_path, decoder):
    """From the kit alone, with a training city: the cells run one after the other, as in a kernel."""
    images, training = {name: season / name for name in ("AB", "B W")}, {"Alpha": season / "AB"}
    make_kit(season / "board.sqlite", tmp_path / "kit.zip", images=images, training=training)
    with zipfile.ZipFile(tmp_path / "kit.zip") as archive:
        archive.extractall(tmp_path / "kit")
    cells = json.loads((tmp_path / "kit/baseline.ipynb").read_text())["cells"]
    code = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "kit",
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    board = Board(season / "board.sqlite")
    with zipfile.ZipFile(tmp_path / "kit/entry.zip") as archive:
        archive.extractall(tmp_path / "res")
    with contextlib.suppress(FileExistsError):
        (tmp_path / "scratch").mkdir()
    sets = {name: board.tile_set(name) for name in board.datasets}
    counts = board.count_all(entry_archives(tmp_path / "res", sets, tmp_path / "scratch"), decoder)
    assert counts["AB"].tiles.counts.trace() / counts["AB"].tiles.pixels > 0.5
