from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rio_cogeo.cogeo import cog_validate

from c2seg.errors import OutputError
from c2seg.legend import c2seg13
from c2seg.raster import RasterTags, write_cog, write_map, write_qml
from c2seg.types import Grid

RNG = np.random.default_rng(0)
GRID = Grid(1300, 700, Affine(10, 0, 5e5, 0, -10, 5e6), CRS.from_epsg(32632).to_wkt())
IDS = RNG.integers(0, 14, (1, 1300, 700)).astype(np.uint8)


def rows_of(values: np.ndarray):
    return lambda first, last: values[:, first:last]


@pytest.mark.parametrize("grid", [GRID, Grid(1300, 700, Affine(10, 0, 0, 0, -10, 0))], ids=["utm", "no crs"])
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_map_is_a_valid_cog_with_colors_and_class_names(grid: Grid, tmp_path: Path) -> None:
    path = tmp_path / "map.tif"
    write_map(path, rows_of(IDS), grid, c2seg13(), overwrite=False, tags={"RECIPE": "forest"})
    valid, errors, warnings = cog_validate(path, quiet=True)
    assert (valid, errors, warnings) == (True, [], [])
    with rasterio.open(path) as dataset:
        assert np.array_equal(dataset.read(), IDS)
        assert dataset.nodata == 0
        assert dataset.overviews(1)
        assert dataset.transform.almost_equals(grid.transform)
        colors = dataset.colormap(1)
        assert colors[0][3] == 0
        assert {i: c[:3] for i, c in colors.items() if i in c2seg13().ids} == c2seg13().colors()
        assert dataset.tags(1)["CLASS_2"] == "Street"
        assert dataset.tags()["RECIPE"] == "forest"
        overview = dataset.read(1, out_shape=(650, 350))
        assert set(np.unique(overview)) <= set(range(14))  # nearest: ids are never mixed


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif"):
        write_map(tmp_path / name, rows_of(IDS), GRID, c2seg13(), overwrite=False)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.tif", "b.tif"]  # nothing else is left


def test_many_band_float_cog(tmp_path: Path) -> None:
    values = RNG.normal(size=(3, 600, 520)).astype(np.float32)
    grid = Grid(600, 520, GRID.transform, GRID.crs)
    write_cog(
        tmp_path / "p.tif", rows_of(values), grid, count=3, dtype=np.float32, nodata=float("nan"), overwrite=False,
        tags=RasterTags({"A": "1"}, [{"CLASS": str(i)} for i in range(3)], ["x", "y", "z"]), resampling="AVERAGE",
    )  # fmt: skip
    assert cog_validate(tmp_path / "p.tif", quiet=True)[0]
    with rasterio.open(tmp_path / "p.tif") as dataset:
        assert np.array_equal(dataset.read(), values)
        assert dataset.descriptions == ("x", "y", "z")
        assert dataset.tags(3)["CLASS"] == "2"


def test_rows_are_asked_for_once_from_top_to_bottom(tmp_path: Path) -> None:
    asked: list[tuple[int, int]] = []

    def rows(first: int, last: int) -> np.ndarray:
        asked.append((first, last))
        return IDS[:, first:last]

    write_map(tmp_path / "map.tif", rows, GRID, c2seg13(), overwrite=False)
    assert asked == [(0, 512), (512, 1024), (1024, 1300)]


def test_a_failing_reader_leaves_nothing(tmp_path: Path) -> None:
    def rows(first: int, last: int) -> np.ndarray:
        if first:
            raise RuntimeError("no more")
        return IDS[:, first:last]

    with pytest.raises(RuntimeError, match="no more"):
        write_map(tmp_path / "map.tif", rows, GRID, c2seg13(), overwrite=False)
    assert list(tmp_path.iterdir()) == []


def test_existing_maps_are_kept_without_overwrite(tmp_path: Path) -> None:
    path = tmp_path / "map.tif"
    path.write_text("mine")
    with pytest.raises(OutputError, match="`overwrite=True`"):
        write_map(path, rows_of(IDS), GRID, c2seg13(), overwrite=False)
    assert path.read_text() == "mine"
    write_map(path, rows_of(IDS), GRID, c2seg13(), overwrite=True)
    assert cog_validate(path, quiet=True)[0]


def test_qml_names_and_colors_every_class(tmp_path: Path) -> None:
    write_qml(tmp_path / "map.qml", c2seg13(), "colorblind")
    root = ElementTree.parse(tmp_path / "map.qml").getroot()
    entries = root.findall(".//paletteEntry")
    assert [(int(e.get("value", 0)), e.get("label")) for e in entries] == [(c.id, c.name) for c in c2seg13().classes]
    red, green, blue = c2seg13().colors("colorblind")[1]
    assert entries[0].get("color") == f"#{red:02x}{green:02x}{blue:02x}"
    renderer = root.find(".//rasterrenderer")
    assert renderer is not None
    assert renderer.get("type") == "paletted"
