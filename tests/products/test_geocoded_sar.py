"""Geocoded radar products: names of producers, units, borders, mosaics; all become dB."""

from __future__ import annotations

import pickle
import zipfile

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS

from c2seg.errors import DataError
from c2seg.products import geocoded_sar
from c2seg.products.base import ProductOptions
from c2seg.products.geocoded_names import named_image
from c2seg.raster import without_georeference
from c2seg.types import Grid

UTM = CRS.from_epsg(32633)
HYP3 = "S1A_IW_20230601T052623_DVP_RTC20_G_{}uned_F8E2"
OPERA = "OPERA_L2_RTC-S1_T095-203255-IW1_20230601T052623Z_20230602T000000Z_S1A_30_v1.0_{}.tif"
PYROSAR = "S1A__IW___D_20230601T052623_{}_grd_mli_geo_norm_db.tif"


def power(seed=0, shape=(60, 70)) -> np.ndarray:
    return np.random.default_rng(seed).gamma(4, 0.05 / 4, shape).astype(np.float32)


def write(path, array, *, col=0, nodata=None, tags=None, units=None, descriptions=None, crs=UTM):
    """Write [H, W] or [C, H, W]; ``col`` shifts it eastward by pixels."""
    bands = array[None] if array.ndim == 2 else array
    path.parent.mkdir(parents=True, exist_ok=True)
    transform = Affine(20, 0, 400_000 + 20 * col, 0, -20, 5_800_000)
    with without_georeference(), rasterio.open(
        path, "w", driver="GTiff", height=bands.shape[1], width=bands.shape[2], count=len(bands), dtype=bands.dtype, crs=crs,
        transform=transform if crs else None, nodata=nodata,
    ) as dataset:  # fmt: skip
        dataset.write(bands)
        dataset.update_tags(**(tags or {}))
        if units:
            dataset.units = (units,) * len(bands)
        if descriptions:
            dataset.descriptions = descriptions
    return path


def grid(height=60, width=70, *, factor=1) -> Grid:
    return Grid(height, width, Affine(20 * factor, 0, 400_000, 0, -20 * factor, 5_800_000), UTM.to_wkt())


def decibel(values):
    return 10 * np.log10(values)


def opened(path, **options):
    assert geocoded_sar.recognize(path)
    return geocoded_sar.open(path, ProductOptions(**options))


@pytest.mark.parametrize(
    ("name", "producer", "unit", "radiometry"),
    [
        (OPERA.format("VV"), "OPERA", "power", "gamma0"),
        (HYP3.format("p") + "_VH.tif", "HyP3", "power", "gamma0"),
        (HYP3.format("a") + "_VV.tif", "HyP3", "amplitude", "gamma0"),
        (HYP3.format("d") + "_VV.tif", "HyP3", "dB", "gamma0"),
        (HYP3.format("d").replace("_G_", "_S_") + "_VV.tif", "HyP3", "dB", "sigma0"),
        ("iw-vv.rtc.tiff", "Planetary Computer", "power", "gamma0"),
        (PYROSAR.format("VV"), "pyroSAR", "dB", "unknown"),
        ("S1A__IW___D_20230601T052623_VV_gamma0-rtc_geo.tif", "pyroSAR", "power", "gamma0"),
        ("Gamma0_VV_db.img", "", "dB", "gamma0"),
        ("Sigma0_VH.img", "", None, "sigma0"),
        ("vv.tif", "", None, "unknown"),
    ],
)
def test_names(name, producer, unit, radiometry):
    image = named_image(name)
    assert (image.producer, image.unit, image.radiometry) == (producer, unit, radiometry)


@pytest.mark.parametrize(
    "name",
    ["B04.tif", "msi.tif", "sar.tif", "vvardenfell.tif", "S1A_scene.tif", HYP3.format("p") + "_VV_inc_map.tif",
     OPERA.format("mask"), "S1A_IW_VV.png", "LC08_hh.txt"],
)  # fmt: skip
def test_other_names(name):
    assert named_image(name) is None


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        (OPERA.format("VV"), lambda p: p),
        (HYP3.format("p") + "_VV.tif", lambda p: p),
        (HYP3.format("a") + "_VV.tif", np.sqrt),
        (HYP3.format("d") + "_VV.tif", decibel),
        (PYROSAR.format("VV"), decibel),
    ],
)
@pytest.mark.parametrize("factor", [1, 2])
def test_all_units_become_decibel_of_mean_power(tmp_path, name, stored, factor):
    product = opened(write(tmp_path / name, stored(power())))
    target = grid(60 // factor, 70 // factor, factor=factor)
    warped = product.warp(target, target.window)
    expected = power().astype(np.float64).reshape(60 // factor, factor, 70 // factor, factor).mean(axis=(1, 3))
    assert warped.valid.all()
    np.testing.assert_allclose(warped.values[0], decibel(expected), atol=1e-4)
    assert product.facts.unit == "dB"
    assert product.facts.sensor == "Sentinel-1A"
    assert str(product.facts.acquired) == "2023-06-01 05:26:23+00:00"


@pytest.mark.parametrize("border", [0, np.nan, -99])
@pytest.mark.parametrize("unit", ["dB", "power"])
def test_borders_are_invalid(tmp_path, border, unit):
    values = decibel(power()) if unit == "dB" else power()
    values[:, :20] = border
    name = HYP3.format("d" if unit == "dB" else "p") + "_VV.tif"
    warped = opened(write(tmp_path / name, values)).warp(grid(), grid().window)
    assert not warped.valid[:, :20].any()
    assert warped.valid[:, 20:].all()
    assert (warped.values[:, :, :20] == 0).all()
    coarse = grid(20, 23, factor=3)
    means = opened(tmp_path / name).warp(coarse, coarse.window)
    expected = decibel(power()[:, 21:69].astype(np.float64).reshape(20, 3, 16, 3).mean(axis=(1, 3)))
    np.testing.assert_allclose(means.values[0][:, 7:], expected, atol=1e-4)


def test_a_folder_and_a_zip_hold_both_polarizations(tmp_path):
    folder = tmp_path / HYP3.format("p")
    for seed, name in enumerate(("VH", "VV")):
        write(folder / f"{folder.name}_{name}.tif", power(seed))
    write(folder / f"{folder.name}_inc_map.tif", power(7))
    shadow = np.ones((60, 70), np.uint8)
    shadow[5:9, 10:20] = 1 | 8
    write(folder / f"{folder.name}_ls_map.tif", shadow)
    path = tmp_path / f"{folder.name}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for item in folder.iterdir():
            archive.write(item, f"{folder.name}/{item.name}")
    for place in (folder, path):
        product = opened(place)
        assert [(band.name, band.role) for band in product.bands] == [("VV", "vv"), ("VH", "vh")]
        warped = pickle.loads(pickle.dumps(product)).warp(grid(), grid().window)
        np.testing.assert_allclose(warped.values[:, 20:], decibel(np.stack([power(1), power(0)]))[:, 20:], atol=1e-4)
        assert not warped.valid[5:9, 10:20].any()
        assert warped.valid.sum() == 60 * 70 - 40
        assert all(file.is_file() for file in product.facts.files)
    assert [band.name for band in opened(folder, bands=("vh",)).bands] == ["VH"]
    with pytest.raises(DataError, match="no polarization HH; it has VV, VH"):
        opened(folder, bands=("HH",))


def test_bursts_of_one_day_are_a_mosaic(tmp_path):
    for number, col in ((203255, 0), (203256, 40)):
        burst = OPERA.replace("203255", str(number))
        values = power(number)
        values[:, :3] = np.nan
        write(tmp_path / burst.format("VV"), values, col=col, nodata=np.nan)
        write(tmp_path / burst.format("VH"), values / 4, col=col, nodata=np.nan)
        mask = np.zeros((60, 70), np.uint8)
        mask[0] = 1
        write(tmp_path / burst.format("mask"), mask, col=col, nodata=255)
    product = opened(tmp_path)
    target = grid(60, 110)
    warped = product.warp(target, target.window)
    first, second = decibel(power(203255)), decibel(power(203256))
    np.testing.assert_allclose(warped.values[0, 1:, 3:70], first[1:, 3:], atol=1e-4)
    np.testing.assert_allclose(warped.values[0, 1:, 70:110], second[1:, 30:], atol=1e-4)
    np.testing.assert_allclose(warped.values[1, 1:, 70:110], second[1:, 30:] - decibel(4), atol=1e-4)
    assert not warped.valid[0].any()
    assert not warped.valid[:, :3].any()
    (tmp_path / OPERA.replace("203255", "203256").format("VH")).unlink()
    with pytest.raises(DataError, match="do not all have VV and VH"):
        opened(tmp_path)


def test_several_dates_are_refused(tmp_path):
    write(tmp_path / PYROSAR.format("VV"), decibel(power()))
    write(tmp_path / PYROSAR.format("VV").replace("20230601", "20230613"), decibel(power()))
    with pytest.raises(DataError, match="holds 2 radar products"):
        opened(tmp_path)


def test_one_file_tells_what_lies_beside_it(tmp_path):
    path = write(tmp_path / PYROSAR.format("VV"), decibel(power()))
    write(tmp_path / PYROSAR.format("VH"), decibel(power()))
    assert any("VH beside it is not read" in note for note in opened(path).facts.notes)
    assert [band.name for band in opened(tmp_path).bands] == ["VV", "VH"]


def test_units_are_told_by_tags_values_or_the_user(tmp_path):
    product = opened(write(tmp_path / "a/vv.tif", decibel(power())))
    assert "most are negative" in product.facts.notes[0]
    product = opened(write(tmp_path / "b/vv.tif", power()))
    assert "read as power" in product.facts.notes[0]
    product = opened(write(tmp_path / "c/vv.tif", np.sqrt(power()), units="amplitude"))
    assert product.facts.processing["stored_as"] == {"VV": "amplitude (as the file states)"}
    product = opened(write(tmp_path / "d/vv.tif", np.sqrt(power()) * 2), sar_unit="amplitude")
    assert product.facts.notes == ()
    np.testing.assert_allclose(product.warp(grid(), grid().window).values[0], decibel(power() * 4), atol=1e-4)
    with pytest.raises(DataError, match=r"do not tell it; give `sar_unit`: dB, power, amplitude"):
        opened(write(tmp_path / "e/vv.tif", np.sqrt(power()) * 2))


def test_bands_described_as_polarizations(tmp_path):
    stack = np.stack([decibel(power(1)), decibel(power(2)), np.full((60, 70), 38, np.float32)])
    path = write(tmp_path / "export.tif", stack, descriptions=("VV", "VH", "angle"))
    product = opened(path)
    assert [band.name for band in product.bands] == ["VV", "VH"]
    np.testing.assert_allclose(product.warp(grid(), grid().window).values, stack[:2], atol=1e-4)
    assert not geocoded_sar.recognize(write(tmp_path / "other.tif", stack, descriptions=("VV", "red", "angle")))


def test_descriptions_count_more_than_names(tmp_path):
    stack = np.stack([decibel(power(1)), decibel(power(2))])
    product = opened(write(tmp_path / "S1A_VV_VH_20230601T052623_dB.tif", stack, descriptions=("VH", "VV")))
    assert [band.name for band in product.bands] == ["VH", "VV"]
    assert product.facts.processing["stored_as"] == {"VH": "dB (as its name tells)", "VV": "dB (as its name tells)"}
    assert str(product.facts.acquired) == "2023-06-01 05:26:23+00:00"
    np.testing.assert_allclose(product.warp(grid(), grid().window).values, stack, atol=1e-4)
    with pytest.raises(DataError, match=r"has 2 bands; describe them as polarizations"):
        opened(write(tmp_path / "S1A_VV_VH.tif", stack))


def test_what_is_not_geocoded_is_refused(tmp_path):
    path = write(tmp_path / "s1a-iw-grd-vv-20230601t052623.tiff", power(), crs=None)
    with pytest.raises(DataError, match=r"not georeferenced; of a Sentinel-1 GRD product give the folder"):
        opened(path)
    with pytest.raises(DataError, match="complex values"):
        opened(write(tmp_path / "S1A_VV.tif", power().astype(np.complex64)))


def test_a_truncated_file_is_named(tmp_path):
    path = write(tmp_path / PYROSAR.format("VV"), decibel(power(shape=(600, 700))))
    path.write_bytes(path.read_bytes()[:400_000])
    with pytest.raises(DataError, match=r"_VV_.*(truncated|damaged|Failed to read)"):
        opened(path).warp(grid(600, 700), grid(600, 700).window)


def test_real_products(real_data):
    folder = real_data / "products/sentinel1-geocoded"
    paths = sorted(folder.glob("*.tif"))
    assert len(paths) == 3
    for path in paths:
        product = opened(path)
        with rasterio.open(path) as dataset:
            target = Grid(dataset.height, dataset.width, dataset.transform, dataset.crs.to_wkt())
            stored = dataset.read(1)
        warped = product.warp(target, target.window)
        assert (warped.valid == (stored != -99)).all()
        np.testing.assert_allclose(warped.values[0][warped.valid], stored[warped.valid], atol=1e-5)
        assert product.facts.notes == ()
        assert product.resolution_m == 20
