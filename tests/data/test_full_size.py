"""Real shapes: the whole Augsburg release in tiles and as .mat, and simulated pairs through every layout. Slow."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from c2seg.cli import run
from c2seg.data import LabeledCity, open_city, open_labeled_city, write_folder, write_mat, write_tiles
from c2seg.data.city import City, Label, Modality, Scene
from c2seg.data.published import CITIES, published_means
from c2seg.data.tiling import TileGrid
from c2seg.legend import c2seg13
from c2seg.raster import GridRelation
from c2seg.types import Grid, Window

pytestmark = pytest.mark.slow

NAMES = ("msi", "sar", "hsi")
AUGSBURG = CITIES["Augsburg"]


@dataclass(frozen=True)
class Procedural:
    """Pixels that are a function of row, column and band: a published spectrum under a texture, at any size."""

    height: int
    width: int
    mean: tuple[float, ...]
    kind: str
    nodata: float | None = None

    @property
    def count(self) -> int:
        return len(self.mean)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.kind)

    def read(self, window: Window) -> np.ndarray:
        rows = np.arange(window.row, window.row_end, dtype=np.uint32)[:, None]
        cols = np.arange(window.col, window.col_end, dtype=np.uint32)[None, :]
        speckle = ((rows * np.uint32(73_856_093) ^ cols * np.uint32(19_349_663)) >> np.uint32(9)) % np.uint32(64)
        texture = 1 + 0.2 * np.sin(rows / 37) * np.cos(cols / 53) + speckle / 640
        return (np.array(self.mean)[:, None, None] * texture).astype(self.dtype)

    def fingerprint(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]


def augsburg() -> LabeledCity:
    size = AUGSBURG.height, AUGSBURG.width
    means = {name: tuple(mean) for name, (mean, _) in published_means("C2Seg-AB").items()}
    modalities = {
        name: Modality(
            Procedural(*size, means[name], "float32" if name == "sar" else "uint16"), GridRelation(), "", name
        )
        for name in NAMES
    }
    grid = Grid(*size, Affine(10, 0, 630_000, 0, -10, 5_370_000), CRS.from_epsg(32632).to_wkt())
    label = Label(Procedural(*size, (7.0,), "uint8"))
    return LabeledCity(City("Augsburg", c2seg13(), (Scene("Augsburg", grid, modalities),)), (label,))


def test_full_size_augsburg_in_tiles_and_mat(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    city = augsburg()
    path = tmp_path / "C2Seg_AB" / "train"
    write_tiles(city, path, AUGSBURG.tile_grids()[0], nested=("hsi",))
    (path / "tiles.yaml").unlink()  # the release has none
    for name in (*NAMES, "label"):
        assert len(list((path / name).rglob("*.tiff"))) == 273
    write_mat(city, tmp_path / "augsburg_multimodal.mat")
    tiles, mat = open_labeled_city(path), open_labeled_city(tmp_path / "augsburg_multimodal.mat", "challenge")
    scene = city.images.scenes[0]
    for window in (Window(-9, -9, 140, 150), Window(700, 1200, 200, 200), Window(333, 444, 128, 128)):
        for name in NAMES:
            values, valid = scene.read(name, window)
            for other in (tiles, mat):
                again, usable = other.images.scenes[0].read(name, window)
                assert np.array_equal(usable, valid)
                assert np.array_equal(again[:, valid], values[:, valid])
        for other in (tiles, mat):
            assert np.array_equal(other.read_label(0, window), city.read_label(0, window))
    capsys.readouterr()
    assert run(["inspect", str(path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["name"], report["dataset"], report["scenes"][0]["tiles"]["count"]) == ("Augsburg", "C2Seg-AB", 273)
    hsi = report["scenes"][0]["modalities"]["hsi"]
    assert hsi["landmarks"]["red_edge_band"] == 55
    assert len(hsi["published"]["mean_here"]) == 242
    assert report["scenes"][0]["label"]["labeled"] == 886 * 1360


@pytest.mark.parametrize("pair", ["ab", "bw"])
def test_a_simulated_pair_reads_back_identical_from_every_layout(pair: str, tmp_path: Path) -> None:
    from c2seg.simulate import simulate_pair

    info = simulate_pair(tmp_path / "pair", pair, scale=0.16 if pair == "ab" else 0.02, seed=3)
    for made in (info.source, info.target):
        city = open_labeled_city(made.path)
        scene = city.images.scenes[0]
        grid = scene.grid
        write_folder(city, tmp_path / made.name / "folder")
        write_tiles(city, tmp_path / made.name / "tiles", TileGrid(grid.height, grid.width, 64, 32), nested=("hsi",))
        write_mat(city, tmp_path / made.name / "classic.mat")
        write_mat(city, tmp_path / made.name / "v73.mat", hdf5=True)
        valid = scene.read_valid(NAMES, grid.window)
        for path in sorted((tmp_path / made.name).iterdir()):
            if path.name.endswith("_label.mat"):
                continue
            again = open_labeled_city(path, "challenge")
            other = again.images.scenes[0]
            assert np.array_equal(other.read_valid(NAMES, grid.window), valid), path
            for name in NAMES:
                here, there = scene.read(name, grid.window)[0], other.read(name, grid.window)[0]
                assert np.array_equal(there[:, valid], here[:, valid]), (path, name)
            assert np.array_equal(again.read_label(0, grid.window), city.read_label(0, grid.window)), path


def test_wrong_order_of_a_full_size_release_is_found_out(tmp_path: Path) -> None:
    city = augsburg()
    lean = Scene("Augsburg", city.images.scenes[0].grid, {"msi": city.images.scenes[0].modality("msi")})
    for order in ("columns", "rows"):
        path = tmp_path / order / "C2Seg_AB" / "train"
        tiles = TileGrid(AUGSBURG.height, AUGSBURG.width, 128, 64, order)  # type: ignore[arg-type]
        write_tiles(City("Augsburg", c2seg13(), (lean,)), path, tiles)
        (path / "tiles.yaml").unlink()
        assert open_city(path).scenes[0].tiles == tiles
