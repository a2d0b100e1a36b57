"""Tiles and .mat files: a city written in a layout reads back identical; wrong files are named."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import rasterio
import yaml

from c2seg.cli import run
from c2seg.data import LabeledCity, TileGrid, open_city, open_labeled_city, write_folder, write_mat, write_tiles
from c2seg.data.city import City
from c2seg.data.layouts import layout_of
from c2seg.data.published import CITIES, DATASETS
from c2seg.errors import DataError, InputError, OutputError
from c2seg.raster import ArrayRaster
from c2seg.testing import check_layout
from c2seg.types import Window
from helpers.toy_cities import make_city, small_augsburg, sparse_classic_mat, write_raster

Write = Callable[[LabeledCity, Path], Path]


def _folder(city: LabeledCity, out: Path) -> Path:
    write_folder(city, out / "folder")
    return out / "folder"


def _tiles(step: int, order: str = "columns", nested: tuple[str, ...] = ()) -> Write:
    def write(city: LabeledCity, out: Path) -> Path:
        write_tiles(city, out / "tiles", TileGrid(150, 130, 64, step, order), nested=nested)  # type: ignore[arg-type]
        return out / "tiles"

    return write


def _mat(*, hdf5: bool) -> Write:
    def write(city: LabeledCity, out: Path) -> Path:
        write_mat(city, out / "toy.mat", hdf5=hdf5)
        return out / "toy.mat"

    return write


LAYOUTS: dict[str, Write] = {
    "folder": _folder,
    "tiles with overlap": _tiles(32, nested=("hsi",)),
    "tiles without overlap": _tiles(64),
    "tiles by rows": _tiles(32, "rows"),
    "mat classic": _mat(hdf5=False),
    "mat v7.3": _mat(hdf5=True),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_reads_back_identical(layout: str, toy: LabeledCity, tmp_path: Path) -> None:
    again = open_labeled_city(LAYOUTS[layout](toy, tmp_path))
    here, there = toy.images.scenes[0], again.images.scenes[0]
    assert (there.grid.height, there.grid.width) == (150, 130)
    assert there.modalities.keys() == here.modalities.keys()
    assert [band.role for band in there.modality("msi").bands] == ["blue", "green", "red", "nir"]
    if not layout.startswith("mat"):
        assert there.grid.transform.almost_equals(here.grid.transform)
    for window in (Window(-4, -6, 170, 150), Window(61, 33, 9, 70)):
        valid = here.read_valid(here.modalities, window)
        assert np.array_equal(there.read_valid(there.modalities, window), valid)
        for name in here.modalities:
            assert there.modality(name).source.dtype == here.modality(name).source.dtype
            assert np.array_equal(there.read(name, window)[0][:, valid], here.read(name, window)[0][:, valid])
        assert np.array_equal(again.read_label(0, window), toy.read_label(0, window))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_contract(layout: str, toy: LabeledCity, tmp_path: Path) -> None:
    path = LAYOUTS[layout](toy, tmp_path)
    files = ("label.tif",) if layout == "folder" else ()
    if path.is_dir() and not files:
        files = tuple(str(file.relative_to(path)) for file in path.glob("label/*.tiff"))
        assert files
    check_layout(layout_of(path), path, label_files=files)


@pytest.mark.parametrize("layout", ["folder", "mat classic", "mat v7.3"])
def test_coarse_hsi_stays_on_its_own_grid(layout: str, toy: LabeledCity, tmp_path: Path) -> None:
    stack = open_city(LAYOUTS[layout](toy, tmp_path)).scenes[0].modality("hsi")
    assert (stack.relation.ratio, stack.source.height, stack.source.width) == (3, 50, 44)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_sources_survive_pickling_and_keep_their_fingerprint(layout: str, toy: LabeledCity, tmp_path: Path) -> None:
    city = open_city(LAYOUTS[layout](toy, tmp_path))
    window = Window(30, 40, 20, 20)
    before = city.scenes[0].read("hsi", window)[0]
    again: City = pickle.loads(pickle.dumps(city))
    assert again.fingerprint() == city.fingerprint()
    assert np.array_equal(again.scenes[0].read("hsi", window)[0], before)


@pytest.mark.parametrize("layout", ["tiles with overlap", "mat classic", "mat v7.3"])
def test_labels_do_not_reach_the_fingerprint_of_the_images(layout: str, toy: LabeledCity, tmp_path: Path) -> None:
    poisoned = replace(toy, labels=(replace(toy.labels[0], source=ArrayRaster(np.full((1, 150, 130), 7, np.uint8))),))
    prints = {
        open_city(LAYOUTS[layout](city, tmp_path / str(i))).fingerprint() for i, city in enumerate((toy, poisoned))
    }
    assert len(prints) == 1


@pytest.mark.parametrize("layout", ["tiles with overlap", "mat classic", "mat v7.3"])
def test_pixels_reach_the_fingerprint(layout: str, tmp_path: Path) -> None:
    prints = {open_city(LAYOUTS[layout](make_city(seed=i), tmp_path / str(i))).fingerprint() for i in range(2)}
    assert len(prints) == 2


@pytest.mark.parametrize(("step", "order"), [(32, "columns"), (32, "rows"), (64, "columns")])
def test_tiles_to_mosaic_to_tiles_is_the_identity(step: int, order: str, toy: LabeledCity, tmp_path: Path) -> None:
    first = _tiles(step, order)(toy, tmp_path)
    city = open_labeled_city(first)
    tiles = city.images.scenes[0].tiles
    assert tiles is not None
    write_tiles(city, tmp_path / "again", tiles)
    for name in ("msi", "sar", "hsi", "label"):
        files = sorted((first / name).glob("*.tiff"))
        assert len(files) == tiles.count
        for file in files:
            with rasterio.open(file) as a, rasterio.open(tmp_path / "again" / name / file.name) as b:
                assert np.array_equal(a.read(), b.read())
                assert a.transform == b.transform


@pytest.mark.parametrize("step", [32, 64])
def test_the_order_of_the_tiles_is_proven_not_believed(step: int, toy: LabeledCity, tmp_path: Path) -> None:
    """Without a tiles.yaml the order is found; a tiles.yaml that states the wrong one is refused."""
    path = _tiles(step, "rows")(toy, tmp_path)
    stated = yaml.safe_load((path / "tiles.yaml").read_text())
    (path / "tiles.yaml").write_text(yaml.safe_dump(stated | {"order": "columns"}))
    with pytest.raises(DataError, match=r"contradict the window rule|is not continuous across tile edges"):
        open_city(path)


def test_order_from_edges_alone(tmp_path: Path) -> None:
    """128 x 192 px in tiles of 64 leave no overlap at all: only the continuity of the image tells."""
    city = make_city(128, 192)
    for order in ("columns", "rows"):
        write_tiles(city, tmp_path / order, TileGrid(128, 192, 64, 64, order))  # type: ignore[arg-type]
        assert "edges the step is" in open_city(tmp_path / order).notes[0]
        other = "rows" if order == "columns" else "columns"
        stated = yaml.safe_load((tmp_path / order / "tiles.yaml").read_text())
        (tmp_path / order / "tiles.yaml").write_text(yaml.safe_dump(stated | {"order": other}))
        with pytest.raises(DataError, match="is not continuous across tile edges"):
            open_city(tmp_path / order)


@pytest.mark.parametrize("order", ["columns", "rows"])
def test_a_published_city_is_recognized_and_its_order_found(
    order: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    city = open_city(small_augsburg(tmp_path, monkeypatch, order))
    assert city.name == "Augsburg"
    assert city.scenes[0].tiles is not None
    assert city.scenes[0].tiles.order == order
    assert [band.role for band in city.scenes[0].modality("sar").bands] == ["vh", "vv"]


def test_the_archive_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = small_augsburg(tmp_path, monkeypatch)
    (tmp_path / "C2Seg_AB.zip").write_bytes(b"not the archive")
    assert run(["inspect", str(path), "-q"]) == 2
    assert "MD5 is" in capsys.readouterr().out


def test_a_folder_of_splits_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small_augsburg(tmp_path, monkeypatch)
    with pytest.raises(DataError, match=r"give one of them: .*C2Seg_AB/train"):
        layout_of(path.parent)


def lose_a_tile(path: Path) -> None:
    (path / "hsi" / "hsi" / "3.tiff").unlink()


def add_a_tile(path: Path) -> None:
    shutil.copy(path / "msi" / "0.tiff", path / "msi" / "99.tiff")


def other_size(path: Path) -> None:
    write_raster(path / "msi" / "2.tiff", np.ones((4, 60, 64), np.uint16))


def other_bands(path: Path) -> None:
    write_raster(path / "sar" / "5.tiff", np.ones((3, 64, 64), np.float32))


def other_type(path: Path) -> None:
    write_raster(path / "msi" / "5.tiff", np.ones((4, 64, 64), np.float64))


def truncate(path: Path) -> None:
    file = path / "sar" / "4.tiff"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def fractional_label(path: Path) -> None:
    write_raster(path / "label" / "1.tiff", np.full((1, 64, 64), 1.5, np.float32))


def foreign_label(path: Path) -> None:
    write_raster(path / "label" / "1.tiff", np.full((1, 64, 64), 41, np.uint8))


def packed(path: Path) -> None:
    shutil.rmtree(path / "sar")
    (path / "sar.zip").write_bytes(b"")


WRONG: list[tuple[Callable[[Path], None], str]] = [
    (lose_a_tile, "1 of 16 hsi tiles are missing: 3"),
    (add_a_tile, "tiles 99 exceed the 16"),
    (other_size, "2.tiff has 60 x 64 pixels, the other tiles 64 x 64"),
    (other_bands, "5.tiff has 3 bands, the other tiles 2"),
    (other_type, "5.tiff has type float64, the other tiles uint16"),
    (truncate, "4.tiff is truncated"),
    (fractional_label, "1.tiff: 4096 labels are not integers, such as 1.5"),
    (foreign_label, "1.tiff: label values [41] are not in the label mapping"),
    (packed, "sar.zip is not unpacked"),
]


@pytest.mark.parametrize(("spoil", "message"), WRONG, ids=lambda item: getattr(item, "__name__", ""))
def test_inspect_names_what_is_wrong_with_tiles(
    spoil: Callable[[Path], None], message: str, toy: LabeledCity, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _tiles(32, nested=("hsi",))(toy, tmp_path)
    assert run(["inspect", str(path), "-q"]) == 0
    spoil(path)
    capsys.readouterr()
    assert run(["inspect", str(path), "-q"]) == 2
    assert message in capsys.readouterr().out


def test_unknown_tilings_are_refused_with_the_published_ones(toy: LabeledCity, tmp_path: Path) -> None:
    path = _tiles(32)(toy, tmp_path)
    (path / "tiles.yaml").unlink()
    with pytest.raises(DataError, match=r"16 tiles of 64 px match no published .*Beijing 7140 of 256.*tiles\.yaml"):
        open_city(path)
    (path / "tiles.yaml").write_text("{name: Toy, hight: 3}")
    with pytest.raises(DataError, match=r"tiles\.yaml: "):
        open_city(path)


def test_georeference_that_contradicts_the_places_is_not_used(toy: LabeledCity, tmp_path: Path) -> None:
    path = _tiles(32)(toy, tmp_path)
    for file in (path / "msi").glob("*.tiff"):  # every tile claims the same place
        with rasterio.open(file) as dataset:
            values = dataset.read()
        write_raster(file, values)
    city = open_city(path)
    assert city.scenes[0].grid.crs is None
    assert any("contradicts" in note for note in city.notes)


def test_valid_black_pixels_are_refused_where_black_means_no_data(toy: LabeledCity, tmp_path: Path) -> None:
    scene = toy.images.scenes[0]
    array = scene.modality("sar").source.read(scene.grid.window).copy()
    array[:, 100, 100] = 0
    black = replace(scene.modality("sar"), source=ArrayRaster(array))
    city = replace(toy.images, scenes=(replace(scene, modalities={**scene.modalities, "sar": black}),))
    with pytest.raises(DataError, match="1 valid pixels of sar"):
        write_mat(city, tmp_path / "a.mat")
    with pytest.raises(DataError, match="1 valid pixels of sar"):
        write_tiles(city, tmp_path / "t", TileGrid(150, 130, 64, 32))
    assert list(tmp_path.iterdir()) == []
    write_folder(city, tmp_path / "folder")
    assert open_city(tmp_path / "folder").scenes[0].read_valid(["sar"], Window(100, 100, 1, 1)).all()


def test_writers_refuse_what_exists(toy: LabeledCity, tmp_path: Path) -> None:
    path = _folder(toy, tmp_path)
    with pytest.raises(OutputError, match="`overwrite=True`"):
        write_folder(toy, path)
    write_folder(toy, path, overwrite=True)
    with pytest.raises(InputError, match="the tiling covers"):
        write_tiles(toy, tmp_path / "t", TileGrid(200, 130, 64, 32))


def damaged_mats() -> list[tuple[str, Callable[[Path], None], str]]:
    def cut(file: Path) -> None:
        file.write_bytes(file.read_bytes()[:400])

    def text(file: Path) -> None:
        file.write_text("hello, this is no MATLAB file\n" * 20)

    def other_name(file: Path) -> None:
        sparse_classic_mat(file, {"cube": ((20, 30, 4), "uint16")})

    def odd_size(file: Path) -> None:
        sparse_classic_mat(file, {"MSI": ((100, 120, 4), "uint16"), "HSI": ((41, 41, 9), "uint16")})

    return [
        ("cut", cut, "truncated or damaged"),
        ("text", text, "truncated or damaged"),
        ("other_name", other_name, "no variable HSI, MSI or SAR (found: cube)"),
        ("odd_size", odd_size, "HSI has 41 x 41 pixels"),
    ]


@pytest.mark.parametrize("hdf5", [False, True])
@pytest.mark.parametrize("case", damaged_mats(), ids=lambda case: case[0])
def test_damaged_mat_files(case: Any, hdf5: bool, toy: LabeledCity, tmp_path: Path) -> None:
    path = _mat(hdf5=hdf5)(toy, tmp_path)
    case[1](path)
    with pytest.raises(DataError) as caught:
        open_city(path)
    assert case[2] in str(caught.value)
    assert "toy.mat" in str(caught.value)


def test_mat_truncated_in_its_pixels_is_named_when_read(toy: LabeledCity, tmp_path: Path) -> None:
    path = _mat(hdf5=False)(toy, tmp_path)
    city = open_city(path)
    os.truncate(path, path.stat().st_size // 3)
    with pytest.raises(DataError, match="truncated or damaged"):
        city.scenes[0].read("sar", Window(0, 0, 100, 100))


def test_label_of_another_size_is_refused(toy: LabeledCity, tmp_path: Path) -> None:
    path = _mat(hdf5=True)(toy, tmp_path)
    with h5py.File(tmp_path / "toy_label.mat", "w") as file:
        file["label"] = np.ones((140, 130), np.uint8)
    with pytest.raises(DataError, match="label has 130 x 140 pixels, the images 150 x 130"):
        open_labeled_city(path)


def make_release(city_name: str, layout: str, out: Path) -> Path:
    """Make a city of the published size, bands and tiles that takes almost no room: blank pixels, holes, hard links."""
    city = CITIES[city_name]
    dataset = DATASETS[city.dataset]
    if layout == "tiles":
        path = out / city.dataset.replace("-", "_") / city.split
        tiles = city.tile_grids()[0]
        for name, bands in dataset.bands().items():
            folder = path / name / (name if (name, city.name) == ("hsi", "Beijing") else "")
            first = write_raster(
                folder / "0.tiff", np.zeros((bands, tiles.tile_px, tiles.tile_px), np.uint16), crs=None, sparse_ok=True
            )
            for index in range(1, tiles.count):
                os.link(first, folder / f"{index}.tiff")
        return path
    shapes = {name: (city.height, city.width, bands) for name, bands in dataset.bands().items()}
    if city.dataset == "C2Seg-AB":
        extra = 2 if city.name == "Berlin" else 0
        height, width, bands = shapes["hsi"]
        path = out / f"{city.name.lower()}_multimodal.mat"
        sparse_classic_mat(
            path, {"HSI": ((height, width, bands + extra), "uint16"), "MSI": (shapes["msi"], "uint16"),
                   "SAR": (shapes["sar"], "single"), "label": ((height, width), "uint8")},
        )  # fmt: skip
        return path
    path = out / f"{city.name.lower()}.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        # Beijing's HSI overhangs by 2 rows and 3 columns, as stored in the release
        size = (2903, 4492) if city.name == "Beijing" else (city.width // 3, city.height // 3)
        file.create_dataset("HSI", (116, *size), "u2", chunks=(8, 64, 64))
        file.create_dataset("MSI", (4, city.width, city.height), "u2", chunks=(4, 64, 64))
        file.create_dataset("SAR", (2, city.width, city.height), "f4", chunks=(2, 64, 64))
    return path


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("layout", ["tiles", "mat"])
@pytest.mark.parametrize("name", CITIES)
def test_all_eight_combinations_are_recognized(
    name: str, layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    path = make_release(name, layout, tmp_path)
    assert run(["inspect", str(path), "--headers-only", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    city = CITIES[name]
    assert (report["name"], report["dataset"], report["split"]) == (name, city.dataset, city.split)
    assert report["problems"] == []
    scene = report["scenes"][0]
    assert (scene["height"], scene["width"]) == (city.height, city.width)
    assert scene["tiles"]["count"] == {"Augsburg": 273, "Berlin": 140, "Beijing": 7140, "Wuhan": 850}[name]
    hsi = scene["modalities"]["hsi"]
    assert hsi["bands"] == {"C2Seg-AB": 242, "C2Seg-BW": 116}[city.dataset]
    assert hsi["ratio"] == (3 if (layout, city.dataset) == ("mat", "C2Seg-BW") else 1)
    if (name, layout) == ("Beijing", "mat"):
        assert (hsi["height"], hsi["width"]) == (4492, 2903)
    if (name, layout) == ("Berlin", "mat"):
        assert any("244 bands; the first 242" in note for note in report["notes"])
