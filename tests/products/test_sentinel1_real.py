"""Sentinel-1 GRD on real annotation: beside xarray-sentinel and sarsen, with images of true size."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from c2seg.errors import DataError
from c2seg.products import sentinel1
from c2seg.products.base import ProductOptions
from c2seg.products.elevation import open_elevation
from c2seg.raster import without_georeference
from c2seg.types import Grid, Window

LINES, PIXELS = 16705, 26102
OFFSET = 3000


def product_folder(real_data: Path) -> Path:
    (folder,) = (real_data / "products/sentinel1-safe").glob("*20211223*.SAFE")
    return folder


def opened(path, **options):
    with without_georeference(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="unclosed")
        return sentinel1.open(path, ProductOptions(**options))


def test_real_annotation_is_read(real_data):
    product = opened(product_folder(real_data))
    assert (product.annotation.lines, product.annotation.pixels) == (LINES, PIXELS)
    assert product.manifest.ipf == "003.40"
    assert product.annotation.looks == 5
    assert [band.name for band in product.bands] == ["VV"]
    assert any("lists VH" in note for note in product.facts.notes)
    with pytest.raises(DataError, match="no calibration table of VV"):
        opened(next((real_data / "products/sentinel1-safe").glob("*20210401*.SAFE")))


@pytest.mark.parametrize(("backscatter", "name"), [("gamma0", "gamma"), ("sigma0", "sigmaNought")])
def test_calibration_agrees_with_xarray_sentinel(real_data, backscatter, name):
    xarray = pytest.importorskip("xarray")
    xarray_sentinel = pytest.importorskip("xarray_sentinel")
    folder = product_folder(real_data)
    table = xarray.open_dataset(folder, engine="sentinel-1", group="IW/VV/calibration")[name]
    product = opened(folder, backscatter=backscatter)
    image = product.images[0]
    rng = np.random.default_rng(0)
    for window in (Window(0, 0, 40, 300), Window(16600, 25800, 105, 302), Window(7000, 8800, 700, 200)):
        dn = rng.integers(1, 900, (window.height, window.width))
        coords = {"line": np.arange(window.row, window.row_end), "pixel": np.arange(window.col, window.col_end)}
        array = xarray.DataArray(dn.astype(float), coords=coords, dims=("line", "pixel"))
        expected = xarray_sentinel.calibrate_intensity(array, table).values
        np.testing.assert_allclose((dn / image.table.read(window).astype(float)) ** 2, expected, rtol=1e-5)


def test_noise_agrees_with_xarray_sentinel(real_data):
    xarray = pytest.importorskip("xarray")
    folder = product_folder(real_data)
    along = xarray.open_dataset(folder, engine="sentinel-1", group="IW/VV/noise_range").noiseRangeLut
    across = xarray.open_dataset(folder, engine="sentinel-1", group="IW/VV/noise_azimuth").noiseAzimuthLut  # of IW1
    image = opened(folder).images[0]
    window = Window(3000, 4000, 900, 300)
    lines, pixels = np.arange(window.row, window.row_end), np.arange(window.col, window.col_end)
    expected = along.interp(line=lines, pixel=pixels) * across.interp(line=lines)
    np.testing.assert_allclose(image.noise.read(window), expected.transpose("line", "pixel").values, rtol=1e-5)


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    """The real product with line numbers as VV and pixel numbers as VH, where the elevation model lies, calibrated by 1."""
    import os

    if not os.environ.get("C2SEG_REAL_DATA"):
        pytest.skip("C2SEG_REAL_DATA is not set")
    source = product_folder(Path(os.environ["C2SEG_REAL_DATA"]))
    safe = tmp_path_factory.mktemp("numbered") / source.name
    (safe / "annotation/calibration").mkdir(parents=True)
    (safe / "measurement").mkdir()
    shutil.copyfile(source / "manifest.safe", safe / "manifest.safe")
    lines = np.arange(LINES, dtype=np.uint16) + OFFSET
    pixels = np.arange(PIXELS, dtype=np.uint16) + OFFSET
    stem = "s1b-iw-grd-vv-20211223t051122-20211223t051147-030148-039993-001"
    annotation = (source / f"annotation/{stem}.xml").read_text()
    for name in ("vv", "vh"):
        other = stem.replace("-vv-", f"-{name}-")
        text = annotation.replace("<polarisation>VV</polarisation>", f"<polarisation>{name.upper()}</polarisation>")
        (safe / f"annotation/{other}.xml").write_text(text)
        (safe / f"annotation/calibration/calibration-{other}.xml").write_text(
            "<calibration><calibrationVectorList count='1'><calibrationVector><line>0</line><pixel count='2'>0 26101</pixel>"
            "<gamma count='2'>1 1</gamma></calibrationVector></calibrationVectorList></calibration>"
        )
        with without_georeference(), rasterio.open(
            safe / f"measurement/{other}.tiff", "w", driver="GTiff", height=LINES, width=PIXELS, count=1, dtype="uint16",
            blockysize=1, SPARSE_OK=True,
        ) as dataset:  # fmt: skip
            for first in range(6000, 10000, 500):
                rows = (
                    np.broadcast_to(lines[first : first + 500, None], (500, PIXELS))
                    if name == "vv"
                    else np.tile(pixels, (500, 1))
                )
                dataset.write(rows, 1, window=rasterio.windows.Window(0, first, PIXELS, 500))
    return safe


def test_geocoding_is_that_of_sarsen(real_data, numbered, tmp_path):
    """Line and pixel at each post of the elevation model of Rome differ from sarsen's inverse by less than half a pixel."""
    pytest.importorskip("sarsen")
    source = real_data / "products/sentinel1-safe/Rome-30m-DEM.tif"
    with rasterio.open(source) as dataset:
        grid = Grid(dataset.height, dataset.width, dataset.transform, "EPSG:4326")
    grid = Grid(grid.height, grid.width, Affine(*grid.transform[:6]), rasterio.crs.CRS.from_epsg(4326).to_wkt())
    model = open_elevation(source)
    assert model.datum == "egm96"
    heights = model.heights(grid, grid.window)
    ellipsoidal = tmp_path / "ellipsoidal.tif"
    with rasterio.open(
        ellipsoidal, "w", driver="GTiff", height=grid.height, width=grid.width, count=1, dtype="float32", crs="EPSG:4326",
        transform=grid.transform,
    ) as dataset:  # fmt: skip
        dataset.write(heights, 1)
    product = opened(numbered, dem=source, multilook=1)
    warped = product.warp(grid, grid.window)
    assert warped.valid[2:-2, 2:-2].all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of rioxarray
        line, pixel = sarsen_coordinates(product_folder(real_data), ellipsoidal)
    for index, expected in enumerate((line, pixel)):
        number = np.sqrt(10.0 ** (warped.values[index].astype(float) / 10)) - OFFSET
        error = np.abs(number - expected)[warped.valid]
        assert error.max() < 0.5
        assert error.mean() < 0.1


def sarsen_coordinates(folder, dem):
    """Return line and pixel [H, W] of an ellipsoidal elevation model's posts, north first, by sarsen's own functions."""
    from sarsen import Sentinel1SarProduct, apps, orbit, scene

    raster = scene.open_dem_raster(str(dem))
    ecef = scene.convert_to_dem_ecef(raster, source_crs="EPSG:4979")
    product = Sentinel1SarProduct(str(folder), "IW/VV", measurement_chunks=None)
    interpolator = orbit.OrbitPolyfitInterpolator.from_position(product.state_vectors())
    seen = apps.simulate_acquisition(ecef.drop_vars("spatial_ref"), interpolator)
    ground = product.slant_range_time_to_ground_range(seen.azimuth_time, seen.slant_range_time)
    first, last = product.measurement.azimuth_time.values[[0, -1]]
    line = (seen.azimuth_time.values - first) / (last - first) * (LINES - 1)
    return line[::-1], (ground.transpose("y", "x").values / 10)[::-1]


def test_tie_points_are_near_sarsen_at_their_heights(real_data):
    """Without an elevation model places agree with the orbit's at the heights of the agency's terrain."""
    pytest.importorskip("sarsen")
    from c2seg.products.sentinel1_geocoding import radar_coordinates

    note = opened(product_folder(real_data))
    points, annotation = note.annotation.points, note.annotation
    seconds, slant = radar_coordinates(annotation.orbit, annotation.first_line, points.lon, points.lat, points.height)
    records = annotation.ground_range
    terms = [
        np.interp(seconds, records.seconds, records.coefficients[:, k]) for k in range(records.coefficients.shape[1])
    ]
    ground = sum(term * (slant - np.interp(seconds, records.seconds, records.sr0)) ** k for k, term in enumerate(terms))
    assert np.abs(seconds / annotation.line_interval_s - points.line).max() < 0.5
    assert np.abs(ground / annotation.range_spacing_m - points.pixel).max() < 0.6
