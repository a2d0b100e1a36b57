"""EnMAP deliveries give back the spectra that were planted."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from affine import Affine

from c2seg.errors import DataError, InputError
from c2seg.products import ProductOptions, enmap
from c2seg.types import Grid, Window
from products.make_enmap import CENTERS, NAME, TRANSFORM, WIDTHS, EnMap, half_and_half, spectrum, tarred, write, zipped

SHAPE = (20, 24)
OPEN = ProductOptions()


def open_product(path, options):
    assert enmap.recognize(path)
    return enmap.open(path, options)


def native(product):
    grid = Grid(*SHAPE, TRANSFORM, product.crs)
    return product.warp(grid, grid.window)


def check_spectra(product, tolerance=5.1e-5):
    centers = np.array([band.wavelength_nm for band in product.bands])
    values, valid = native(product)
    assert valid.all()
    for col, kind in ((3, "vegetation"), (20, "soil")):
        np.testing.assert_allclose(values[:, 5, col], spectrum(centers, kind), atol=tolerance)
    return centers


@pytest.mark.parametrize("pack", ["folder", "zip", "zip with a folder", "tar.gz of a zip", "metadata file"])
def test_spectra_come_back_from_every_way_of_delivery(tmp_path, pack):
    folder = EnMap(half_and_half()).write(tmp_path / NAME)
    path = {
        "folder": lambda: folder,
        "zip": lambda: zipped(folder, tmp_path / f"{NAME}.zip"),
        "zip with a folder": lambda: zipped(folder, tmp_path / f"{NAME}.ZIP", NAME),
        "tar.gz of a zip": lambda: tarred(
            [zipped(folder, tmp_path / f"{NAME}.ZIP", NAME)], tmp_path / "dims_op_oc_1.tar.gz"
        ),
        "metadata file": lambda: folder / f"{NAME}-METADATA.XML",
    }[pack]()
    product = pickle.loads(pickle.dumps(open_product(path, OPEN)))
    assert (product.facts.kind, product.facts.sensor, product.facts.unit) == ("hsi", "EnMAP", "reflectance")
    assert product.facts.product == NAME
    assert product.facts.acquired.isoformat() == "2022-07-24T10:45:26+00:00"
    assert product.resolution_m == 30
    centers = check_spectra(product)
    assert (np.diff(centers) > 0).all()
    widths = {round(c, 3): round(w, 5) for c, w in zip(CENTERS, WIDTHS, strict=True)}
    assert [band.fwhm_nm for band in product.bands] == [widths[center] for center in centers]
    assert any("unpack" in note for note in product.facts.notes) == pack.startswith("tar")
    assert all(file.is_file() for file in product.facts.files)


@pytest.mark.parametrize("sort", [False, True])
@pytest.mark.parametrize("lists", [False, True])
def test_the_infrared_detector_counts_where_both_see(tmp_path, sort, lists):
    folder = EnMap(half_and_half(), sort=sort, lists=lists).write(tmp_path / NAME)
    product = open_product(folder, OPEN)
    centers = [band.wavelength_nm for band in product.bands]
    silicon = round(CENTERS[:91][CENTERS[:91] < CENTERS[91]][-1], 3)
    if not (sort and not lists):  # then nothing tells the detectors apart
        assert centers[centers.index(round(CENTERS[91], 3)) - 1] == silicon
        assert len(centers) == (CENTERS[:91] < CENTERS[91]).sum() + 133 - 3
        assert any("infrared detector" in note for note in product.facts.notes)
    else:
        assert len(centers) == 221
    check_spectra(product)


def test_empty_bands_are_dropped_and_named_ones_are_read_all_the_same(tmp_path):
    folder = EnMap(half_and_half(), empty=(100, 101)).write(tmp_path / NAME)
    product = open_product(folder, OPEN)
    assert not {"EnMAP 100", "EnMAP 101"} & {band.name for band in product.bands}
    assert any("2 bands are not read: they hold no data (100-101)" in note for note in product.facts.notes)
    chosen = open_product(folder, ProductOptions(bands=("EnMAP 90", "enmap 3")))
    assert [band.name for band in chosen.bands] == ["EnMAP 90", "EnMAP 3"]
    check_spectra(chosen)
    with pytest.raises(InputError, match=r"`bands`: .* has no band 'B2'; its 224 bands are 'EnMAP 1' to 'EnMAP 224'"):
        open_product(folder, ProductOptions(bands=("B2",)))


def test_gain_and_offset_of_every_band_apply(tmp_path):
    gains, offsets = np.linspace(5e-5, 2e-4, 224), np.linspace(-0.05, 0.05, 224)
    product = open_product(EnMap(half_and_half(), gains=gains, offsets=offsets).write(tmp_path / NAME), OPEN)
    check_spectra(product, 1.1e-4)


def test_early_products_without_gain_hold_ten_thousandths(tmp_path):
    folder = EnMap(half_and_half() * 1e4, gains=np.ones(224)).write(tmp_path / NAME)
    check_spectra(open_product(folder, OPEN))


def test_clouds_and_defective_pixels_are_invalid_and_thin_cirrus_is_not(tmp_path):
    zero = np.zeros(SHAPE, np.uint8)
    layers = {name: zero.copy() for name in ("QL_QUALITY_CLOUD", "QL_QUALITY_CLOUDSHADOW", "QL_QUALITY_CIRRUS")}
    layers["QL_QUALITY_CLOUD"][2, 3] = layers["QL_QUALITY_CLOUDSHADOW"][4, 5] = layers["QL_QUALITY_CIRRUS"][6, 7] = 1
    layers["QL_QUALITY_CIRRUS"][8, 9] = 3
    layers["QL_QUALITY_SNOW"] = np.ones(SHAPE, np.uint8)
    layers["QL_PIXELMASK"] = np.zeros((224, *SHAPE), np.uint8)
    layers["QL_PIXELMASK"][:40, 10, 11] = 1
    layers["QL_PIXELMASK"][:3, 12, 13] = 1
    invalid = np.zeros(SHAPE, bool)
    invalid[:, 0] = True
    folder = EnMap(half_and_half(), layers=layers, invalid=invalid).write(tmp_path / NAME)
    bad = invalid.copy()
    bad[[2, 4, 8, 10], [3, 5, 9, 11]] = True
    np.testing.assert_array_equal(native(open_product(folder, OPEN)).valid, ~bad)
    bad[[2, 4, 8], [3, 5, 9]] = False
    np.testing.assert_array_equal(native(open_product(folder, ProductOptions(mask_clouds=False))).valid, ~bad)
    margin = native(open_product(folder, ProductOptions(cloud_margin_m=31))).valid
    assert not margin[1:4, 3].any()
    assert margin[1, 4]


@pytest.mark.parametrize(("extension", "driver"), [("BSQ", "ENVI"), ("tif", "GTiff"), ("GEOTIFF", "GTiff")])
def test_other_formats_and_cases_of_the_extension(tmp_path, extension, driver):
    folder = EnMap(half_and_half(), extension=extension, driver=driver).write(tmp_path / NAME)
    check_spectra(open_product(folder, OPEN))
    check_spectra(open_product(zipped(folder, tmp_path / f"{NAME}.zip"), OPEN))


def test_radiance_of_l1c_is_raw_and_l1b_is_refused(tmp_path):
    product = open_product(EnMap(half_and_half(), level="L1C", nodata=0, empty=()).write(tmp_path / "c"), OPEN)
    assert product.facts.unit == "raw"
    assert any("at-sensor radiance" in note for note in product.facts.notes)
    with pytest.raises(DataError, match=r"is EnMAP L1B, in the sensor's geometry; download L2A$"):
        open_product(EnMap(half_and_half(), level="L1B").write(tmp_path / "b"), OPEN)


def test_a_coarser_grid_takes_averages_and_windows_agree(tmp_path):
    rng = np.random.default_rng(0)
    cube = np.round(half_and_half() + rng.normal(0, 0.02, (1, *SHAPE)), 4)
    product = open_product(EnMap(cube).write(tmp_path / NAME), ProductOptions(bands=("EnMAP 20", "EnMAP 150")))
    grid = Grid(10, 12, TRANSFORM @ Affine.scale(2), product.crs)
    values, valid = product.warp(grid, grid.window)
    assert valid.all()
    expected = cube[[19, 149]].reshape(2, 10, 2, 12, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(values, expected, atol=2e-6)
    np.testing.assert_array_equal(product.warp(grid, Window(3, 4, 5, 6)).values, values[:, 3:8, 4:10])


def test_incomplete_and_damaged_products_are_said_in_one_line(tmp_path):
    folder = EnMap(half_and_half()).write(tmp_path / NAME)
    image, metadata = (folder / f"{NAME}-{end}" for end in ("SPECTRAL_IMAGE.TIF", "METADATA.XML"))
    text, pixels = metadata.read_text(), image.read_bytes()

    def fails(match):
        with pytest.raises(DataError, match=match) as caught:
            native(open_product(folder, OPEN))
        assert "\n" not in str(caught.value)

    metadata.unlink()
    fails(r"lacks METADATA\.XML, which tells wavelengths and gains; download the whole product$")
    metadata.write_text(text[: len(text) // 2])
    fails(r"METADATA\.XML is damaged: .*; download the product again$")
    metadata.write_text(text.replace("<GainOfBand>0.0001</GainOfBand>", "", 1))
    fails(r"GainOfBand of a band is missing$")
    metadata.write_text(text.replace('bandID number="7"', 'bandID number="999"'))
    fails(r"does not number its 224 bands from 1 on; download the product again$")
    metadata.write_text('<!DOCTYPE a [<!ENTITY b "c">]>' + text[text.index("<level_X") :])
    fails(r"defines entities")
    metadata.write_text(text)
    image.write_bytes(pixels[: len(pixels) // 2])
    fails(r"truncated or damaged")
    write(image, np.zeros((10, *SHAPE), np.int16))
    fails(r"has 10 bands, but .*METADATA\.XML describes 224; download the product again$")
    image.unlink()
    fails(r"lacks its SPECTRAL_IMAGE; download the whole product$")


def test_a_damaged_archive_is_named(tmp_path):
    place = zipped(EnMap(half_and_half()).write(tmp_path / NAME), tmp_path / f"{NAME}.zip")
    place.write_bytes(place.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"\.zip is no archive, or it is truncated: .*; download it again$"):
        open_product(place, OPEN)


def test_a_folder_of_several_products_is_refused(tmp_path):
    for name in ("a", "b"):
        EnMap(half_and_half()).write(tmp_path / "all" / name)
    with pytest.raises(DataError, match=r"holds several products \(a, b, \.\.\.\); give one of them$"):
        open_product(tmp_path / "all", OPEN)
    assert enmap.recognize(tmp_path / "all" / "a")
