"""Gaofen deliveries: orthorectified by RPCs, mosaicked, calibrated, or refused in one line."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import transform

from c2seg.errors import DataError
from c2seg.products import ProductOptions, gaofen
from c2seg.types import Grid
from products.make_enmap import spectrum, tarred
from products.make_gaofen import (
    AHSI,
    LAT,
    LON,
    RADAR,
    SCENE,
    ahsi_centers,
    metadata,
    rpb,
    rpc,
    rpc_txt,
    write_ahsi,
    write_dem,
    write_plain,
    write_radar,
)

SHAPE = (60, 64)


def opened(path, **options):
    assert gaofen.recognize(path)
    return pickle.loads(pickle.dumps(gaofen.open(path, ProductOptions(**options))))


def grid(pixel_m, size):
    x, y = (side[0] for side in transform("EPSG:4326", "EPSG:32632", [LON], [LAT]))
    half = size * pixel_m / 2
    return Grid(size, size, Affine(pixel_m, 0, x - half, 0, -pixel_m, y + half), CRS.from_epsg(32632).to_wkt())


def numbers(count, shape=SHAPE):
    """An image whose band k holds 1000 k + its column number."""
    return (1000 * np.arange(1, count + 1)[:, None, None] + np.indices(shape)[1]).astype(np.uint16)


def write_wfv(folder, parts=(("-1", -400.0), ("-2", 400.0)), text=rpb, end=".rpb"):
    folder.mkdir(exist_ok=True)
    for part, east in parts:
        write_plain(folder / f"{SCENE}{part}.tiff", numbers(8))
        (folder / f"{SCENE}{part}{end}").write_text(text(rpc(*SHAPE, 16.0, east_m=east)))
    (folder / f"{SCENE}.xml").write_text(metadata())
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_parts_of_wfv_become_one_image_on_the_elevation_model(tmp_path, packed):
    folder = write_wfv(tmp_path / "wfv")
    dem = write_dem(tmp_path / "dem.tif", hill_m=200)
    path = tarred(sorted(folder.iterdir()), tmp_path / f"{SCENE}.tar.gz") if packed else folder
    product = opened(path, dem=dem, dem_datum="ellipsoid")
    assert (product.facts.kind, product.facts.sensor, product.facts.unit) == ("msi", "GF6 WFV", "raw")
    assert (product.facts.product, product.facts.level) == (SCENE, "L1A")
    assert product.crs is None
    assert product.resolution_m == pytest.approx(16, rel=0.05)
    west, south, east, north = product.bounds_lonlat
    assert west < LON < east
    assert south < LAT < north
    assert [band.role for band in product.bands][:4] == ["blue", "green", "red", "nir"]
    assert (product.bands[5].wavelength_nm, product.bands[5].fwhm_nm) == (750, 40)
    values, valid = product.warp(target := grid(16, 80), target.window)
    middle = valid[40]
    assert middle.sum() > 70  # 64 columns are one part alone
    np.testing.assert_allclose(values[3][valid] - values[0][valid], 3000, atol=1e-2)
    columns = values[0][40][middle] - 1000
    assert (np.diff(columns) < 0).sum() == 1  # where the second part begins
    assert {file.suffix for file in product.facts.files} >= ({".gz"} if packed else {".tiff", ".rpb", ".xml"})
    chosen = opened(folder, bands=("B4", "B1"))
    assert [band.name for band in chosen.bands] == ["B4", "B1"]
    assert any("no `dem` is given" in note for note in chosen.facts.notes)


def test_pms_is_read_without_its_panchromatic_image_from_either_rpc_format(tmp_path):
    scene = SCENE.replace("WFV", "PMS")
    for part, count in (("MUX", 4), ("PAN", 1)):
        write_plain(tmp_path / f"{scene}-{part}.tiff", numbers(count))
        (tmp_path / f"{scene}-{part}_RPC.TXT").write_text(rpc_txt(rpc(*SHAPE, 8.0)))
    product = opened(tmp_path)
    assert [band.name for band in product.bands] == ["B1", "B2", "B3", "B4"]
    _, valid = product.warp(target := grid(8, 40), target.window)
    assert valid.all()
    with pytest.raises(DataError, match=r"does not cover the product"):
        opened(tmp_path, dem=elsewhere(tmp_path), dem_datum="ellipsoid")
    (tmp_path / f"{scene}-MUX.tiff").unlink()
    with pytest.raises(DataError, match=r"holds the panchromatic image alone"):
        opened(tmp_path)


def elsewhere(folder):
    return write_dem(folder / "elsewhere.tif", crs="EPSG:32633")


def test_spectra_of_ahsi_come_back_in_radiance(tmp_path):
    centers = ahsi_centers()
    cubes = [np.broadcast_to(100 * spectrum(nm)[:, None, None], (len(nm), 20, 22)) for nm, _ in centers.values()]
    folder = write_ahsi(tmp_path / AHSI, *cubes)
    product = opened(folder)
    assert (product.facts.kind, product.facts.sensor, product.facts.unit) == ("hsi", "GF5B AHSI", "raw")
    nm = np.array([band.wavelength_nm for band in product.bands])
    assert (np.diff(nm) > 0).all()
    assert len(nm) == 180 + (centers["VNIR"][0] < 1004).sum()
    assert {band.fwhm_nm for band in product.bands} == {4.5, 8.4}
    values, valid = product.warp(target := grid(30, 12), target.window)
    assert valid.all()
    np.testing.assert_allclose(values[:, 6, 6], 100 * spectrum(nm), atol=0.011)
    assert any("radiance" in note for note in product.facts.notes)
    bare = opened(write_ahsi(tmp_path / "b" / AHSI, *cubes, tables=False))
    assert len(bare.bands) == 330
    assert any("wavelengths are unknown" in note for note in bare.facts.notes)
    (folder / "GF5B_AHSI_RadCal_SWIR.raw").write_text("0.02,1\n" * 179)
    with pytest.raises(DataError, match=r"has 179 rows, the SWIR detector of .* 180 bands$"):
        opened(folder)


def test_backscatter_of_a_geocoded_radar_product_is_calibrated(tmp_path):
    rng = np.random.default_rng(0)
    power = {name: 10 ** rng.uniform(-2, 0, (20, 24)) for name in ("HH", "HV")}
    power["HH"][3, 4] = 0
    product = opened(write_radar(tmp_path / RADAR, power))
    assert (product.facts.kind, product.facts.unit, product.facts.level) == ("sar", "dB", "L2")
    assert [band.role for band in product.bands] == ["hh", "hv"]
    values, valid = product.warp(product.grid, product.grid.window)
    assert [tuple(place) for place in np.argwhere(~valid)] == [(3, 4)]
    np.testing.assert_allclose(values[1][valid], 10 * np.log10(power["HV"][valid]), atol=0.02)


@pytest.mark.parametrize("level", ["L1A", "L1B"])
def test_radar_products_in_radar_geometry_are_refused_in_one_line(tmp_path, level):
    folder = write_radar(tmp_path / RADAR, {"HH": np.ones((4, 4))}, level=level)
    with pytest.raises(
        DataError, match=rf"is Gaofen-3 {level}, .*in radar geometry, which is not geocoded here; order L2"
    ):
        opened(folder)


def test_incomplete_and_contradictory_deliveries_are_said_in_one_line(tmp_path):
    folder = write_wfv(tmp_path / "wfv")

    def fails(match, path=folder):
        with pytest.raises(DataError, match=match) as caught:
            opened(path)
        assert "\n" not in str(caught.value)

    (folder / f"{SCENE}-2.rpb").unlink()
    fails(r"has neither a CRS nor a file of RPCs \(.*-2\.rpb\); download it again$")
    write_wfv(folder)
    write_plain(folder / f"{SCENE}-2.tiff", numbers(4))
    fails(r"has 4 bands, WFV has 8; download it again$")
    write_wfv(folder)
    content = (folder / f"{SCENE}-1.tiff").read_bytes()
    (folder / f"{SCENE}-1.tiff").write_bytes(content[:3000])
    with pytest.raises(DataError, match=r"truncated or damaged|cannot open"):
        opened(folder).warp(target := grid(16, 80), target.window)
    write_wfv(folder)
    write_plain(folder / f"{SCENE.replace('0001', '0002')}-1.tiff", numbers(8))
    fails(r"holds 2 Gaofen products")
    radar = write_radar(tmp_path / RADAR, {"HH": np.ones((4, 4))})
    (radar / f"{RADAR}.meta.xml").unlink()
    fails(r"lacks its \.meta\.xml, which tells the calibration", radar)
