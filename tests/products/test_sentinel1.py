"""Sentinel-1 GRD: calibration, noise, borders, multilook, geocoding with a known geometry, windows, errors."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from affine import Affine
from make_sentinel1 import Flight, Made, make_safe, zipped
from rasterio.crs import CRS
from rasterio.warp import transform

from c2seg.errors import DataError
from c2seg.products import sentinel1, sentinel1_image
from c2seg.products.base import ProductOptions
from c2seg.products.sentinel1_calibration import parse_noise
from c2seg.raster import without_georeference
from c2seg.types import Grid, Window

LINES, PIXELS = 900, 1100
UTM = CRS.from_epsg(32633).to_wkt()
OFFSET = 3000
"""Added to line and pixel numbers written as DN, so that the bilinear mean of squares is that of the numbers."""


def numbered() -> dict[str, np.ndarray]:
    """Return line numbers as VV, pixel numbers as VH."""
    lines, pixels = np.meshgrid(np.arange(LINES), np.arange(PIXELS), indexing="ij")
    return {"VV": (lines + OFFSET).astype(np.uint16), "VH": (pixels + OFFSET).astype(np.uint16)}


class Even(Made):
    """Tables that change nothing: A = 1."""

    def table(self, quantity):
        lines, pixels = self.nodes()
        return lines, pixels, np.ones((len(lines), len(pixels)))


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A product whose pixels hold their own line and pixel numbers."""
    return make_safe(tmp_path_factory.mktemp("places"), Even(numbered(), noise=None))


@pytest.fixture(scope="module")
def speckled(tmp_path_factory):
    """A product of speckle in two polarizations, with all tables, and what it was made of."""
    rng = np.random.default_rng(5)
    images = {
        name: np.sqrt(rng.gamma(4.4, level**2 / 4.4, (LINES, PIXELS))).astype(np.uint16) + 1
        for name, level in (("VV", 200), ("VH", 90))
    }
    images["VV"][:, :7] = 0
    made = Made(images)
    return make_safe(tmp_path_factory.mktemp("speckled"), made), made


def grid_over(product, *, resolution=10.0, height=640, width=700) -> Grid:
    """Return a grid in UTM around the scene's center."""
    west, south, east, north = product.bounds_lonlat
    (x,), (y,) = transform("EPSG:4326", UTM, [(west + east) / 2], [(south + north) / 2])
    left, top = x - width * resolution / 2, y + height * resolution / 2
    return Grid(height, width, Affine(resolution, 0, left, 0, -resolution, top), UTM)


def lonlat(grid: Grid):
    x = grid.transform.c + grid.transform.a * (np.arange(grid.width) + 0.5)
    ys = grid.transform.f + grid.transform.e * (np.arange(grid.height) + 0.5)
    xs, ys = np.meshgrid(x, ys)
    lon, lat = transform(UTM, "EPSG:4326", xs.ravel().tolist(), ys.ravel().tolist())
    return np.reshape(lon, xs.shape), np.reshape(lat, xs.shape)


def numbers_of(decibel: np.ndarray) -> np.ndarray:
    return np.sqrt(10.0 ** (decibel.astype(np.float64) / 10)) - OFFSET


def expected_power(made: Made, name: str, quantity: str) -> np.ndarray:
    """Return (DN^2 - noise) / A^2 of the whole image, by a slow direct formula."""
    lines, pixels, values = made.table(quantity)
    rows, cols = np.arange(LINES), np.arange(PIXELS)

    def bilinear(table):
        along = np.stack([np.interp(cols, pixels, row) for row in table])
        return np.stack([np.interp(rows, lines, along[:, k]) for k in range(PIXELS)], axis=1)

    at, factors = made.azimuth()
    azimuth = np.interp(rows, at, factors)[:, None] * np.where(cols < made.seam, 1, 1.1)
    dn = made.images[name].astype(np.float64)
    return (dn**2 - bilinear(made.noise_table()) * azimuth) / bilinear(values) ** 2


@pytest.mark.parametrize(("backscatter", "quantity"), [("gamma0", "gamma"), ("sigma0", "sigmaNought")])
def test_calibrated_power_is_the_formula(speckled, backscatter, quantity):
    safe, made = speckled
    product = sentinel1.open(safe, ProductOptions(backscatter=backscatter))
    for index, name in enumerate(("VV", "VH")):
        expected = expected_power(made, name, quantity)
        power = product.images[index].power(Window(0, 0, LINES, PIXELS))
        valid = made.images[name] > 0
        assert (np.isfinite(power) == valid).all()
        np.testing.assert_allclose(power[valid], expected[valid], rtol=1e-5, atol=2e-6)
        part = product.images[index].power(Window(311, 205, 90, 401))
        assert np.array_equal(part, power[311:401, 205:606], equal_nan=True)


def test_noise_of_earlier_processors_is_read(tmp_path, speckled):
    _, made = speckled
    early = replace(made, noise="range", ipf="002.84")
    product = sentinel1.open(make_safe(tmp_path, early), ProductOptions())
    dn = made.images["VH"][50:60, 80:120].astype(np.float64)
    lines, pixels = made.nodes()
    along = np.stack([np.interp(np.arange(80, 120), pixels, row) for row in made.noise_table()])
    noise = np.stack([np.interp(np.arange(50, 60), lines, along[:, k]) for k in range(40)], axis=1)
    image = product.images[1]
    table = image.table.read(Window(50, 80, 10, 40))
    np.testing.assert_allclose(image.power(Window(50, 80, 10, 40)), (dn**2 - noise) / table**2, rtol=1e-4, atol=1e-6)
    assert product.facts.processing["thermal_noise"] == "subtracted"


def test_what_is_not_subtracted_is_said(tmp_path, speckled):
    _, made = speckled
    small = replace(made, images={"VV": made.images["VV"]})
    for name, changes, note in [
        ("none", {"noise": None}, "missing"),
        ("old", {"noise": "range", "ipf": "002.43"}, "another scale"),
        ("done", {"is_denoised": True}, None),
    ]:
        (tmp_path / name).mkdir()
        product = sentinel1.open(make_safe(tmp_path / name, replace(small, **changes)), ProductOptions())
        assert product.images[0].noise is None
        said = [text for text in product.facts.notes if "noise" in text]
        assert (note in said[0]) if note else not said


def test_vectors_at_different_pixels_make_one_table():
    text = b"""<noise><noiseRangeVectorList count="2">
    <noiseRangeVector><line>0</line><pixel>0 40 80</pixel><noiseRangeLut>10 20 40</noiseRangeLut></noiseRangeVector>
    <noiseRangeVector><line>10</line><pixel>0 50 90</pixel><noiseRangeLut>0 5 5</noiseRangeLut></noiseRangeVector>
    </noiseRangeVectorList></noise>"""
    values = parse_noise(text, "here").read(Window(0, 0, 11, 91))
    np.testing.assert_allclose(values[0, [0, 20, 40, 60, 80, 90]], [10, 15, 20, 30, 40, 40])
    np.testing.assert_allclose(values[10, [0, 25, 50, 70]], [0, 2.5, 5, 5])
    np.testing.assert_allclose(values[5, 40], (20 + 4) / 2)


def test_dark_edges_of_early_processors_are_invalid(tmp_path):
    rng = np.random.default_rng(0)
    made = Made({"VV": np.zeros((LINES, PIXELS), np.uint16)}, ipf="002.72", noise="range")
    dn = np.sqrt(rng.gamma(4.4, 60**2 / 4.4, (LINES, PIXELS)))
    noise = np.sqrt(rng.gamma(1, 10**2, (LINES, PIXELS)))
    start = 130 + np.arange(LINES) // 10
    border = (np.arange(PIXELS) < start[:, None]) | (np.arange(LINES)[:, None] < 64)
    dn[500:560, 500:700] = 3  # a dark place inside is no border
    made.images["VV"][:] = np.where(border, noise, dn).astype(np.uint16) + 1
    safe = make_safe(tmp_path, made)
    image = sentinel1.open(safe, ProductOptions()).images[0]
    valid = np.isfinite(image.power(Window(0, 0, LINES, PIXELS)))
    assert not valid[border].any()
    far = (np.arange(PIXELS) >= start[:, None] + 64) & (np.arange(LINES)[:, None] >= 64 + 64)
    assert valid[far].all()
    later = Made(made.images, ipf="003.10", noise="range")
    shutil.rmtree(safe)
    whole = sentinel1.open(make_safe(tmp_path, later), ProductOptions()).images[0]
    assert np.isfinite(whole.power(Window(0, 0, LINES, PIXELS))).all()


def test_means_of_pixels_are_of_power(speckled, monkeypatch):
    safe, _ = speckled
    image = sentinel1.open(safe, ProductOptions()).images[0]
    power = image.power(Window(0, 0, LINES, PIXELS))
    means = image.multilooked(Window(10, 2, 20, 30), 3)
    cells = power[30:90, 6:96].reshape(20, 3, 30, 3)
    expected = np.nanmean(cells, axis=(1, 3))
    expected[:, 0] = np.nanmean(cells[:, :, 0], axis=(1, 2))  # pixels 6, 7, 8, of which 6 is invalid
    np.testing.assert_allclose(means, expected, rtol=1e-5)
    monkeypatch.setattr(sentinel1_image, "_MOST_PX", 1000)  # calibrated in pieces
    assert np.array_equal(image.multilooked(Window(10, 2, 20, 30), 3), means, equal_nan=True)
    assert np.isnan(image.multilooked(Window(0, 0, 2, 4), 4)[:, 0]).all()  # 0..3 of 7 invalid columns
    last = image.multilooked(Window(LINES // 4, PIXELS // 4 - 1, 1, 1), 4)
    assert np.isnan(last).all() or LINES % 4  # a cell beyond the last line holds nothing


def test_tie_points_place_pixels_on_the_ellipsoid(places):
    product = sentinel1.open(places, ProductOptions())
    grid = grid_over(product)
    line, pixel = Flight().pixel_of(*lonlat(grid), np.zeros((grid.height, grid.width)))
    warped = product.warp(grid, grid.window)
    inside = (line > 1) & (line < LINES - 2) & (pixel > 1) & (pixel < PIXELS - 2)
    outside = (line < -1) | (line > LINES) | (pixel < -1) | (pixel > PIXELS)
    assert warped.valid[inside].all()
    assert not warped.valid[outside].any()
    assert (warped.values[:, ~warped.valid] == 0).all()
    assert np.abs(numbers_of(warped.values[0]) - line)[inside].max() < 0.1
    assert np.abs(numbers_of(warped.values[1]) - pixel)[inside].max() < 0.1
    assert any("no elevation model" in note for note in product.facts.notes)


def write_hills(path, product, *, crs="EPSG:4326", share=1.0, nodata=None):
    """Write hills of up to 900 m around a scene, 1 arc second; returns them and a function for their heights."""
    west, south, east, north = product.bounds_lonlat
    step = 1 / 3600
    width, height = int((east - west + 0.04) / step * share), int((north - south + 0.04) / step)
    transform_ = Affine(step, 0, west - 0.02, 0, -step, north + 0.02)
    lon = transform_.c + step * (np.arange(width) + 0.5)
    lat = transform_.f - step * (np.arange(height) + 0.5)

    def hills(lon, lat):
        return 450 + 300 * np.sin((lon - west) * 200) + 150 * np.cos((lat - south) * 300)

    values = hills(lon[None], lat[:, None]).astype(np.float32)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=height,
        width=width,
        count=1,
        dtype="float32",
        crs=crs,
        transform=transform_,
        nodata=nodata,
    ) as dataset:
        dataset.write(values, 1)
    return hills


def test_an_elevation_model_places_pixels_within_a_hundredth(places, tmp_path):
    pytest.importorskip("sarsen")
    flat = sentinel1.open(places, ProductOptions())
    hills = write_hills(tmp_path / "dem.tif", flat)
    product = sentinel1.open(places, ProductOptions(dem=tmp_path / "dem.tif", dem_datum="ellipsoid"))
    grid = grid_over(product)
    lon, lat = lonlat(grid)
    line, pixel = Flight().pixel_of(lon, lat, hills(lon, lat))
    warped = product.warp(grid, grid.window)
    inside = (line > 1) & (line < LINES - 2) & (pixel > 1) & (pixel < PIXELS - 2)
    assert warped.valid[inside].all()
    # The model is bilinear between its posts, and so is not quite the hills; dB in float32 hold 0.01 px.
    assert np.abs(numbers_of(warped.values[0]) - line)[inside].max() < 0.02
    assert np.abs(numbers_of(warped.values[1]) - pixel)[inside].max() < 0.12
    assert np.abs(numbers_of(warped.values[1]) - pixel)[inside].mean() < 0.02
    ellipsoid = flat.warp(grid, grid.window)
    moved = numbers_of(ellipsoid.values[1]) - numbers_of(warped.values[1])
    assert np.abs(moved[inside]).max() > 60  # 900 m of height
    assert "sarsen" in product.facts.processing["geocoding"]


@pytest.mark.parametrize(
    "options",
    [
        ProductOptions(),
        ProductOptions(multilook=2, speckle="lee"),
        ProductOptions(bands=("VH",), speckle="median", speckle_px=3),
    ],
)
def test_windows_change_no_byte(speckled, options):
    safe, _ = speckled
    product = sentinel1.open(safe, options)
    grid = grid_over(product)
    whole = product.warp(grid, grid.window)
    again = pickle.loads(pickle.dumps(product))
    windows = (Window(500, 490, 40, 60), Window(0, 0, 64, 700), Window(-20, 650, 100, 100))
    for window in windows if options.speckle == "none" else windows[:1]:
        part = again.warp(grid, window)
        inside = window.intersect(grid.window)
        rows, cols = inside.shift(-window.row, -window.col).slices
        assert part.values[:, rows, cols].tobytes() == whole.values[:, *inside.slices].tobytes()
        assert (part.valid[rows, cols] == whole.valid[inside.slices]).all()


def test_windows_change_no_byte_with_an_elevation_model(speckled, tmp_path):
    pytest.importorskip("sarsen")
    safe, _ = speckled
    write_hills(tmp_path / "dem.tif", sentinel1.open(safe, ProductOptions()))
    product = sentinel1.open(safe, ProductOptions(dem=tmp_path / "dem.tif", dem_datum="egm96"))
    grid = grid_over(product)
    whole = product.warp(grid, grid.window)
    part = pickle.loads(pickle.dumps(product)).warp(grid, Window(505, 510, 30, 40))
    assert part.values.tobytes() == whole.values[:, 505:535, 510:550].tobytes()


def test_a_coarse_grid_holds_means(speckled):
    safe, made = speckled
    product = sentinel1.open(safe, ProductOptions())
    assert [product.multilook(grid_over(product, resolution=r)) for r in (8, 10, 15, 20, 30)] == [1, 1, 2, 2, 3]
    grid = grid_over(product, resolution=40, height=100, width=100)
    warped = product.warp(grid, grid.window)
    power = expected_power(made, "VV", "gamma")[:, 8:]
    np.testing.assert_allclose((10 ** (warped.values[0][warped.valid] / 10)).mean(), power.mean(), rtol=0.03)
    fine = product.warp(grid_over(product, resolution=10, height=100, width=100), Window(0, 0, 100, 100))
    assert warped.values[0][warped.valid].std() < 0.5 * fine.values[0][fine.valid].std()


def test_power_below_the_floor_is_the_floor(tmp_path):
    made = Made({"VV": np.full((LINES, PIXELS), 25, np.uint16)}, noise_power=2000.0)
    product = sentinel1.open(make_safe(tmp_path, made), ProductOptions())
    grid = grid_over(product, height=64, width=64)
    warped = product.warp(grid, grid.window)
    assert warped.valid.all()
    assert (warped.values == -50).all()


def test_a_zip_gives_the_same(speckled, tmp_path):
    safe, _ = speckled
    copy = tmp_path / safe.name
    shutil.copytree(safe, copy)
    path = zipped(copy)
    assert sentinel1.recognize(path)
    assert sentinel1.recognize(safe)
    assert sentinel1.recognize(safe / "manifest.safe")
    product = sentinel1.open(path, ProductOptions(bands=("vh",)))
    grid = grid_over(product, height=60, width=60)
    expected = sentinel1.open(safe, ProductOptions()).warp(grid, grid.window)
    warped = product.warp(grid, grid.window)
    assert np.array_equal(warped.values[0][expected.valid], expected.values[1][expected.valid])
    assert product.facts.product == safe.name.removesuffix(".SAFE")
    assert product.facts.files == (path,)


def test_facts(speckled):
    safe, _ = speckled
    product = sentinel1.open(safe, ProductOptions(speckle="lee"))
    facts = product.facts
    assert (facts.kind, facts.sensor, facts.unit, facts.level) == ("sar", "Sentinel-1A", "dB", "IW GRD")
    assert str(facts.acquired) == "2023-06-01 05:26:23.500000+00:00"
    assert [(band.name, band.role) for band in product.bands] == [("VV", "vv"), ("VH", "vh")]
    assert facts.processing["terrain_flattening"] == "not done"
    assert facts.processing["speckle"] == "lee, 5 px"
    assert facts.processing["orbit_files_of_the_agency"] == [
        "S1A_OPER_AUX_RESORB_OPOD_20230601T083000_V20230601T035300_20230601T071030.EOF"
    ]
    assert len(facts.files) == 9
    assert all(path.is_file() for path in facts.files)


def broken(tmp_path, change):
    """Return a small product after a change of its folder."""
    safe = make_safe(tmp_path, Made({"VV": np.full((300, 400), 90, np.uint16)}), compress=False)
    change(safe)
    return safe


def only(safe, pattern):
    (path,) = safe.glob(pattern)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda safe: only(safe, "annotation/*.xml").unlink(),
            "lacks annotation/s1a-iw-grd-vv-.*download the whole product",
        ),
        (lambda safe: only(safe, "annotation/calibration/cal*.xml").unlink(), "no calibration table of VV"),
        (lambda safe: only(safe, "measurement/*").unlink(), "no images in its folder measurement"),
        (lambda safe: only(safe, "annotation/*.xml").write_text("<product>"), "damaged: .*download the product again"),
        (lambda safe: only(safe, "annotation/*.xml").write_text("<product/>"), "adsHeader.*is missing"),
        (
            lambda safe: only(safe, "annotation/calibration/cal*.xml").write_text("<calibration/>"),
            "no complete calibration tables",
        ),
        (
            lambda safe: only(safe, "annotation/calibration/noise*.xml").write_text("<noise/>"),
            "no complete noise tables",
        ),
    ],
)
def test_an_incomplete_product_is_one_line(tmp_path, change, message):
    with pytest.raises(DataError, match=message) as caught:
        sentinel1.open(broken(tmp_path, change), ProductOptions())
    assert "\n" not in str(caught.value)


def test_a_truncated_measurement_is_named(tmp_path):
    def cut(safe):
        path = only(safe, "measurement/*")
        path.write_bytes(path.read_bytes()[:100_000])

    with pytest.raises(DataError, match=r"vv-.*\.tiff .*(truncated|cannot)"):
        sentinel1.open(broken(tmp_path, cut), ProductOptions())


def test_a_measurement_of_another_size_is_refused(tmp_path):
    def swap(safe):
        path = only(safe, "measurement/*")
        with (
            without_georeference(),
            rasterio.open(path, "w", driver="GTiff", height=30, width=40, count=1, dtype="uint16") as dataset,
        ):
            dataset.write(np.ones((1, 30, 40), np.uint16))

    with pytest.raises(DataError, match=r"has 30 x 40 pixels, its annotation says 300 x 400"):
        sentinel1.open(broken(tmp_path, swap), ProductOptions())


@pytest.mark.parametrize("kind", ["SLC", "OCN", "RAW"])
def test_other_levels_are_refused_by_name(tmp_path, kind):
    folder = tmp_path / f"S1A_IW_{kind}__1SDV_20230601T052623_20230601T052648_048791_05DE1A_1A2B.SAFE"
    (folder / "annotation").mkdir(parents=True)
    assert sentinel1.recognize(folder)
    with pytest.raises(DataError, match=rf"\({kind}\), which is not read; download the GRD"):
        sentinel1.open(folder, ProductOptions())


def test_an_slc_of_another_name_is_refused(tmp_path):
    made = Made({"VV": np.full((300, 400), 90, np.uint16)}, kind="SLC")
    safe = make_safe(tmp_path, made).rename(tmp_path / "scene")
    assert sentinel1.recognize(safe)
    with pytest.raises(DataError, match="is of type SLC, which is not read"):
        sentinel1.open(safe, ProductOptions())


def test_a_zip_of_something_else_is_none(tmp_path, speckled):
    import zipfile

    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "x")
    assert not sentinel1.recognize(path)
    named = path.rename(tmp_path / "S1A_IW_GRDH_1SDV_20230601T052623_20230601T052648_048791_05DE1A_1A2B.zip")
    assert sentinel1.recognize(named)
    with pytest.raises(DataError, match="holds no Sentinel-1 product"):
        sentinel1.open(named, ProductOptions())
    named.write_bytes(b"PK no zip")
    with pytest.raises(DataError, match=r"cannot read .*download it again"):
        sentinel1.open(named, ProductOptions())


def test_an_unknown_polarization_is_named(speckled):
    with pytest.raises(DataError, match="no polarization HH; it has VV, VH"):
        sentinel1.open(speckled[0], ProductOptions(bands=("HH",)))
    both = sentinel1.open(speckled[0], ProductOptions(bands=("B02", "B8A")))  # of another sensor
    assert [band.name for band in both.bands] == ["VV", "VH"]


def test_an_elevation_model_that_ends_inside_the_area_is_refused(places, tmp_path):
    pytest.importorskip("sarsen")
    write_hills(tmp_path / "dem.tif", sentinel1.open(places, ProductOptions()), share=0.5)
    product = sentinel1.open(places, ProductOptions(dem=tmp_path / "dem.tif", dem_datum="egm2008"))
    grid = grid_over(product)
    with pytest.raises(DataError, match=r"dem.tif covers (4|5)\d % of the area .*`dem`.*`bounds`"):
        product.warp(grid, Window(0, 0, 10, 10))


def test_places_without_a_height_are_invalid(places, tmp_path):
    pytest.importorskip("sarsen")
    path = tmp_path / "dem.tif"
    write_hills(path, sentinel1.open(places, ProductOptions()), nodata=-9999)
    with rasterio.open(path, "r+") as dataset:
        values = dataset.read(1)
        values[:, values.shape[1] // 2 :] = -9999
        dataset.write(values, 1)
    product = sentinel1.open(places, ProductOptions(dem=path, dem_datum="ellipsoid"))
    grid = grid_over(product, height=200, width=400)
    valid = product.warp(grid, grid.window).valid
    assert valid[:, :150].all()
    assert not valid[:, -150:].any()


def test_cloud_optimized_measurements_are_found(tmp_path):
    safe = make_safe(tmp_path, Made({"VV": np.full((300, 400), 90, np.uint16)}))
    path = only(safe, "measurement/*")
    path.rename(path.with_name(f"{path.stem}-cog.tiff"))
    assert [band.name for band in sentinel1.open(safe, ProductOptions()).bands] == ["VV"]
    assert [band.name for band in sentinel1.open(zipped(safe), ProductOptions()).bands] == ["VV"]
