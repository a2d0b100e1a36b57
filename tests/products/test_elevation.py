"""Elevation models: vertical datum, geoid, heights on grids of all resolutions."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import Resampling, reproject

from c2seg.errors import DataError
from c2seg.products import geoid
from c2seg.products.elevation import open_elevation
from c2seg.products.geoid import find_geoid
from c2seg.types import Grid, Window

UTM = CRS.from_epsg(32633).to_wkt()


def write_model(path, *, crs="EPSG:4326", step=1 / 3600, nodata=None, values=None):
    """Write a model of 360 x 360 posts at 13 degrees east, 52 north: a plane, 100 m to about 172 m."""
    rows, cols = np.meshgrid(np.arange(360), np.arange(360), indexing="ij")
    heights = (100 + 0.1 * rows + 0.1 * cols).astype(np.float32) if values is None else values
    transform = Affine(step, 0, 13.0, 0, -step, 52.1)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=360,
        width=360,
        count=1,
        dtype="float32",
        crs=crs,
        transform=transform,
        nodata=nodata,
    ) as dataset:
        dataset.write(heights, 1)
    return path


def grid(resolution: float, size: int) -> Grid:
    return Grid(size, size, Affine(resolution, 0, 364_000, 0, -resolution, 5_772_000), UTM)


@pytest.mark.parametrize(
    ("lon", "lat", "undulation"),
    [  # NGA's EGM96 at posts of its grid of 15 minutes
        (0.0, 0.0, 17.16), (0.0, 90.0, 13.61), (0.0, -90.0, -29.53), (86.75, 28.0, -28.6), (12.5, 42.0, 48.6),
        (80.5, 4.75, -106.0),
    ],
)  # fmt: skip
def test_undulations_are_those_published(lon, lat, undulation):
    assert find_geoid("egm96").undulation(np.array([lon]), np.array([lat]))[0] == pytest.approx(undulation, abs=1.2)


def test_undulations_cross_the_seam():
    model = find_geoid("egm96")
    lon = np.array([179.6, 179.9, 180.0, -179.99, -179.6, 359.9])
    alone = [model.undulation(lon[k : k + 1], np.array([10.0]))[0] for k in range(6)]
    together = model.undulation(lon[:5], np.full(5, 10.0))
    np.testing.assert_allclose(together, alone[:5], atol=1e-9)
    assert abs(alone[5] - model.undulation(np.array([-0.1]), np.array([10.0]))[0]) < 1e-9
    assert np.abs(np.diff(together)).max() < 0.5


def test_egm2008_is_read_where_proj_has_it(tmp_path, monkeypatch):
    monkeypatch.setattr(geoid, "_folders", lambda: [tmp_path])
    absent = find_geoid("egm2008")
    assert absent.model == "egm96"
    assert "us_nga_egm08_25.tif" in absent.note
    transform = Affine(1, 0, -180.5, 0, -1, 90.5)
    with rasterio.open(
        tmp_path / "us_nga_egm08_25.tif", "w", driver="GTiff", height=181, width=360, count=1, dtype="float32", crs="EPSG:4326",
        transform=transform,
    ) as dataset:  # fmt: skip
        dataset.write(np.full((181, 360), 33.5, np.float32), 1)
    present = find_geoid("egm2008")
    assert (present.model, present.note) == ("egm2008", "")
    assert present.undulation(np.array([7.3, 8.0]), np.array([50.0, 50.2])).tolist() == [33.5, 33.5]


@pytest.mark.parametrize(
    ("crs", "name", "datum"),
    [
        ("EPSG:9707", "dem.tif", "egm96"),
        ("EPSG:9518", "dem.tif", "egm2008"),
        ("EPSG:4979", "dem.tif", "ellipsoid"),
        ("EPSG:4326", "Copernicus_DSM_COG_10_N52_00_E013_00_DEM.tif", "egm2008"),
        ("EPSG:4326", "ALPSMLC30_N052E013_DSM.tif", "egm96"),
        ("EPSG:4326", "TDM1_DEM__30_N52E013_DEM.tif", "ellipsoid"),
    ],
)
def test_the_datum_is_read(tmp_path, crs, name, datum):
    model = open_elevation(write_model(tmp_path / name, crs=crs))
    assert model.datum == datum
    assert datum in model.notes[0]


def test_an_unstated_datum_is_asked_for(tmp_path):
    path = write_model(tmp_path / "dem.tif")
    with pytest.raises(DataError, match=r"does not say what its heights are over.*`dem_datum`"):
        open_elevation(path)
    assert open_elevation(path, "ellipsoid").notes == ()
    with pytest.raises(DataError, match="NAVD88"):
        open_elevation(write_model(tmp_path / "us.tif", crs="EPSG:4269+5703"))


def test_a_contradiction_is_said(tmp_path):
    model = open_elevation(write_model(tmp_path / "dem.tif", crs="EPSG:9707"), "ellipsoid")
    assert model.geoid is None
    assert "states egm96" in model.notes[0]


def test_heights_over_the_geoid_become_ellipsoidal(tmp_path):
    path = write_model(tmp_path / "dem.tif")
    target, window = grid(10, 500), Window(100, 200, 256, 300)
    over = open_elevation(path, "ellipsoid").heights(target, window)
    raised = open_elevation(path, "egm96").heights(target, window) - over
    assert np.isfinite(raised).all()
    assert 39 < raised.min() < raised.max() < 42  # EGM96 near Berlin


@pytest.mark.parametrize("resolution", [10, 25, 100])
def test_heights_are_those_of_gdal(tmp_path, resolution):
    path = write_model(tmp_path / "dem.tif")
    target = grid(resolution, 60)
    heights = open_elevation(path, "ellipsoid").heights(target, target.window)
    expected = np.full(heights.shape, np.nan, np.float32)
    with rasterio.open(path) as dataset:
        reproject(
            rasterio.band(dataset, 1), expected, dst_transform=target.transform, dst_crs=UTM, dst_nodata=np.nan,
            resampling=Resampling.bilinear, tolerance=0.001,
        )  # fmt: skip
    both = np.isfinite(heights) & np.isfinite(expected)
    assert both.mean() > 0.8
    # GDAL scales its kernel at the model's edge where the grid is coarser.
    inner = (slice(4, -4), slice(4, -4))
    assert np.abs(np.where(both, heights - expected, 0))[inner].max() < 0.01


def test_fill_values_and_the_outside_have_no_height(tmp_path):
    values = np.full((360, 360), 50, np.float32)
    values[:, :100] = -32767  # not declared
    values[:, 300:] = -999
    path = write_model(tmp_path / "dem.tif", values=values, nodata=-999)
    model = open_elevation(path, "ellipsoid")
    heights = model.heights(
        Grid(10, 500, Affine(1 / 3600, 0, 13.0 - 70 / 3600, 0, -1 / 3600, 52.05), CRS.from_epsg(4326).to_wkt()),
        Window(0, 0, 10, 500),
    )
    assert np.isnan(heights[:, :169]).all()
    assert np.isnan(heights[:, 371:]).all()
    assert (heights[:, 172:369] == 50).all()
    assert model.share_covered(np.array([12.9, 13.05]), np.array([52.05, 52.05])) == 0.5


def test_srtm_tiles_are_read(tmp_path):
    heights = np.full((1201, 1201), 70, ">i2")
    heights[:600] = -32768  # void
    path = tmp_path / "N52E013.hgt"
    heights.tofile(path)
    model = open_elevation(path)
    assert model.datum == "egm96"
    target = Grid(10, 10, Affine(1 / 1200, 0, 13.2, 0, -1 / 1200, 52.2), CRS.from_epsg(4326).to_wkt())
    assert 108 < model.heights(target, target.window).mean() < 113
    north = Grid(10, 10, Affine(1 / 1200, 0, 13.2, 0, -1 / 1200, 52.9), CRS.from_epsg(4326).to_wkt())
    assert np.isnan(model.heights(north, north.window)).all()
