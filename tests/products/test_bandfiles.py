"""Single-band files: names, scales and offsets from tags, STAC items or pixels, masks, folders and lists."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from c2seg.errors import DataError, InputError
from c2seg.products import ProductOptions, bandfiles, open_product
from c2seg.products.bandfiles_names import named_band, sensor_of
from helpers.prepare_make import grid_of, write_raster
from products.make_sentinel2 import write_jp2

OPEN = ProductOptions()
SIDE = 60
GRID = grid_of(SIDE, 10, 399960, 5800020, 32633)
COARSE = grid_of(SIDE // 2, 20, 399960, 5800020, 32633)
SEEN = "2022-04-13T10:15:59.024Z"


def numbers(low=1200, seed=0, side=SIDE):
    """Digital numbers of which many lie near ``low``, the dark end."""
    return np.random.default_rng(seed).integers(low, low + 3000, (side, side)).astype(np.uint16)


def scene(folder, names=("blue", "green", "red", "nir"), low=1200, **options):
    """Write files of 10 m and return their numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {name: numbers(low, seed) for seed, name in enumerate(names)}
    for name, layer in values.items():
        write_raster(folder / f"{name}.tif", layer[None], GRID, **options)
    return np.stack(list(values.values()))


def item(folder, assets, platform="sentinel-2a", **properties):
    content = {
        "type": "Feature", "stac_version": "1.0.0", "id": "S2A_33UUU_20220413_0_L2A",
        "properties": {"datetime": SEEN, "platform": platform, **properties}, "assets": assets,
    }  # fmt: skip
    (folder / "item.json").write_text(json.dumps(content))


def assets(names, scale=None, offset=None):
    bands = {} if scale is None else {"raster:bands": [{"scale": scale, "offset": offset}]}
    return {name: {"href": f"https://somewhere.test/x/{name}.tif?sig=1", **bands} for name in names}


def warped(product):
    return product.warp(GRID, GRID.window)


COLORS = ("blue", "green", "red", "nir")


def test_offset_and_scale_in_tags(tmp_path):
    values = scene(tmp_path / "s", scale=1e-4, offset=-0.1)
    product = pickle.loads(pickle.dumps(open_product(tmp_path / "s", OPEN)))
    np.testing.assert_allclose(warped(product).values, values * 1e-4 - 0.1, atol=1e-6)
    assert product.facts.unit == "reflectance"
    assert not any("offset" in note for note in product.facts.notes)


def test_an_offset_in_tags_that_is_applied_already_is_seen_in_the_pixels(tmp_path):
    values = scene(tmp_path / "s", low=200, scale=1e-4, offset=-0.1)
    product = open_product(tmp_path / "s", OPEN)
    np.testing.assert_allclose(warped(product).values, values * 1e-4, atol=1e-6)
    assert any("not applied: with it, dark pixels would have reflectance -0.08" in note for note in product.facts.notes)


def test_reprocessed_scenes_of_a_catalog_state_scale_and_offset_in_the_item(tmp_path):
    values = scene(tmp_path / "s")
    item(tmp_path / "s", assets(COLORS, 0.0001, -0.1), **{"eo:cloud_cover": 4.5})
    product = open_product(tmp_path / "s", OPEN)
    np.testing.assert_allclose(warped(product).values, values * 1e-4 - 0.1, atol=1e-6)
    facts = product.facts
    assert (facts.sensor, facts.product, facts.acquired.hour) == ("Sentinel-2A", "S2A_33UUU_20220413_0_L2A", 10)
    assert facts.processing["cloud_percent"] == 4.5
    assert facts.processing["scaling_from"] == "STAC item item.json"
    assert tmp_path / "s" / "item.json" in facts.files
    assert [band.name for band in product.bands] == ["B02", "B03", "B04", "B08"]


def test_a_catalog_that_says_the_offset_is_applied_is_believed(tmp_path):
    values = scene(tmp_path / "s", low=1500)
    item(tmp_path / "s", assets(COLORS, 0.0001, -0.1), **{"earthsearch:boa_offset_applied": True})
    product = open_product(tmp_path / "s", OPEN)
    np.testing.assert_allclose(warped(product).values, values * 1e-4, atol=1e-6)
    assert any("boa_offset_applied" in note for note in product.facts.notes)


def test_a_catalog_speaks_of_its_own_files_not_of_those_of_the_agency(tmp_path):
    values = numbers()
    write_jp2(tmp_path / "R10m" / "B02.jp2", values)
    write_jp2(tmp_path / "R10m" / "B03.jp2", numbers(seed=1))
    listed = {"blue-jp2": {"href": "s3://x/R10m/B02.jp2"}, "green-jp2": {"href": "s3://x/R10m/B03.jp2"}}
    item(tmp_path / "R10m", listed, **{"earthsearch:boa_offset_applied": True, "s2:processing_baseline": "05.09"})
    np.testing.assert_allclose(warped(open_product(tmp_path / "R10m", OPEN)).values[0], values * 1e-4 - 0.1, atol=1e-6)


def test_a_catalog_that_wrongly_says_the_offset_is_left_to_apply_is_not_believed(tmp_path):
    values = scene(tmp_path / "s", low=200)
    item(tmp_path / "s", assets(COLORS, 0.0001, -0.1), **{"earthsearch:boa_offset_applied": False})
    product = open_product(tmp_path / "s", OPEN)
    np.testing.assert_allclose(warped(product).values, values * 1e-4, atol=1e-6)
    assert any("numbers hold it already" in note for note in product.facts.notes)


def test_an_offset_stated_for_a_baseline_without_one(tmp_path):
    values = scene(tmp_path / "s", low=1500)
    item(tmp_path / "s", assets(COLORS, 0.0001, -0.1), **{"sentinel:processing_baseline": "02.14"})
    product = open_product(tmp_path / "s", OPEN)
    np.testing.assert_allclose(warped(product).values, values * 1e-4, atol=1e-6)
    assert any("none before 04.00" in note for note in product.facts.notes)


@pytest.mark.parametrize(("baseline", "low", "offset"), [("05.09", 1100, -0.1), ("03.01", 1100, 0), ("04.00", 150, 0)])
def test_the_baseline_in_an_item_tells_the_offset_unless_pixels_contradict(tmp_path, baseline, low, offset):
    values = scene(tmp_path / "s", low=low)
    item(tmp_path / "s", assets(COLORS), **{"s2:processing_baseline": baseline})
    np.testing.assert_allclose(warped(open_product(tmp_path / "s", OPEN)).values, values * 1e-4 + offset, atol=1e-6)


@pytest.mark.parametrize(("low", "offset", "note"), [(980, -0.1, "-0.1, is applied"), (300, 0.0, "without offset")])
def test_without_any_statement_pixels_tell_and_it_is_said(tmp_path, low, offset, note):
    names = [f"T33UUU_20220413T101559_{band}_10m" for band in ("B02", "B03", "B04", "B08")]
    values = scene(tmp_path / "s", names, low)
    product = open_product(tmp_path / "s", OPEN)
    np.testing.assert_allclose(warped(product).values, values * 1e-4 + offset, atol=1e-6)
    assert any(note in text for text in product.facts.notes)


def test_folders_of_resolutions_hold_each_band_at_its_native_one(tmp_path):
    fine, coarse, red_edge = numbers(), numbers(side=SIDE // 2), numbers(1100, 3, SIDE // 2)
    write_jp2(tmp_path / "R10m" / "B02.jp2", fine)
    write_jp2(tmp_path / "R20m" / "B02.jp2", coarse, 20)
    write_jp2(tmp_path / "R20m" / "B05.jp2", red_edge, 20)
    write_jp2(tmp_path / "R60m" / "B01.jp2", numbers(side=SIDE // 6), 60)
    product = open_product(tmp_path, ProductOptions(kernel="nearest"))
    assert [band.name for band in product.bands] == ["B02", "B05"]
    expected = np.stack([fine, np.kron(red_edge, np.ones((2, 2)))]) * 1e-4 - 0.1
    np.testing.assert_allclose(warped(product).values, expected, atol=1e-6)
    assert [band.name for band in open_product(tmp_path, ProductOptions(bands=("b1", "B2"))).bands] == ["B01", "B02"]
    with pytest.raises(InputError, match="no band 'B11'; it has B01, B02, B05"):
        open_product(tmp_path, ProductOptions(bands=("B11",)))


def test_a_list_of_files(tmp_path):
    values = scene(tmp_path / "s", ("B02", "B03", "B04"))
    listing = tmp_path / "files.txt"
    listing.write_text("# the scene\ns/B04.tif\n\ns/B02.tif\n")
    product = open_product(listing, OPEN)
    np.testing.assert_allclose(warped(product).values, values[[0, 2]] * 1e-4 - 0.1, atol=1e-6)
    assert listing in product.facts.files
    listing.write_text("s/B04.tif\ns/B09.tif\n")
    with pytest.raises(DataError, match=r"names .*B09\.tif, which does not exist"):
        open_product(listing, OPEN)
    (tmp_path / "readme.txt").write_text("just a text\n")
    assert not bandfiles.recognize(tmp_path / "readme.txt")


def test_masks_among_the_files_are_used(tmp_path):
    scene(tmp_path / "s", low=1200)
    classes = np.full((1, SIDE // 2, SIDE // 2), 4, np.uint8)
    classes[0, 3, 4], classes[0, 9, 9], classes[0, 20, 20] = 9, 6, 1
    write_raster(tmp_path / "s" / "scl.tif", classes, COARSE)
    valid = np.ones((1, SIDE, SIDE), np.uint8)
    valid[0, 50, 50] = 0
    write_raster(tmp_path / "s" / "valid.tif", valid, GRID)
    expected = np.ones((SIDE, SIDE), bool)
    expected[50, 50] = False
    np.testing.assert_array_equal(
        warped(open_product(tmp_path / "s", ProductOptions(mask_clouds=False))).valid, expected
    )
    expected[6:8, 8:10] = expected[40:42, 40:42] = False
    np.testing.assert_array_equal(warped(open_product(tmp_path / "s", OPEN)).valid, expected)


def test_landsat_files_without_their_metadata(tmp_path):
    names = [f"LC08_L2SP_021039_20220413_20220420_02_T1_SR_B{number}" for number in (4, 5)]
    values = scene(tmp_path / "s", names, low=8000)
    qa = np.full((1, SIDE, SIDE), 64, np.uint16)
    qa[0, 7, 7] = 8
    write_raster(tmp_path / "s" / f"{names[0][:-6]}_QA_PIXEL.TIF", qa, GRID)
    product = open_product(tmp_path / "s", OPEN)
    result = warped(product)
    assert not result.valid[7, 7]
    assert result.valid.sum() == SIDE * SIDE - 1
    np.testing.assert_allclose(result.values[:, result.valid], values[:, result.valid] * 2.75e-5 - 0.2, atol=1e-6)
    assert [(band.name, band.role) for band in product.bands] == [("SR_B4", "red"), ("SR_B5", "nir")]


def test_numbers_without_a_scale_and_sensor_are_passed_on_and_it_is_said(tmp_path):
    folder = tmp_path / "s"
    folder.mkdir()
    grid = grid_of(SIDE, 3, 399960, 5800020, 32633)
    for name in ("red", "green"):
        write_raster(folder / f"{name}.tif", numbers()[None], grid)
    product = open_product(folder, OPEN)
    assert (product.facts.unit, {band.role for band in product.bands}) == ("raw", {"red", "green"})
    assert any("state no scale" in note for note in product.facts.notes)
    np.testing.assert_array_equal(product.warp(grid, grid.window).values[0], numbers())


def test_what_is_wrong_is_one_clear_line(tmp_path):
    scene(tmp_path / "s", ("x_B02", "y_B02"))
    with pytest.raises(DataError, match=r"holds band B02 twice \(x_B02\.tif, y_B02\.tif\)"):
        open_product(tmp_path / "s", OPEN)
    scene(tmp_path / "t", ("B02", "B03"))
    write_raster(tmp_path / "t" / "B04.tif", np.stack([numbers(), numbers()]), GRID)
    with pytest.raises(DataError, match=r"B04\.tif is named as a band and has 2 bands"):
        open_product(tmp_path / "t", OPEN)
    (tmp_path / "t" / "B04.tif").unlink()
    cut = write_jp2(tmp_path / "t" / "B05.jp2", numbers())
    cut.write_bytes(cut.read_bytes()[:-2500])
    with pytest.raises(DataError, match=r"cannot read .*B05\.jp2.*download it again"):
        open_product(tmp_path / "t", OPEN)
    (tmp_path / "t" / "B04.tif").write_bytes(b"no raster")
    with pytest.raises(DataError, match=r"cannot open .*B04\.tif"):
        open_product(tmp_path / "t", OPEN)


def test_other_json_beside_the_files_is_passed_over(tmp_path):
    scene(tmp_path / "s", scale=1e-4, offset=-0.1)
    (tmp_path / "s" / "a.json").write_text("{")
    (tmp_path / "s" / "b.json").write_text(
        '{"type": "Feature", "stac_version": "1.0.0", "properties": 1, "assets": [1]}'
    )
    assert open_product(tmp_path / "s", OPEN).facts.product == "s"


@pytest.mark.parametrize(
    ("stem", "word", "mask"),
    [
        ("B02", "b02", None),
        ("T33UUU_20220413T101559_B8A_20m", "b8a", None),
        ("HLS.S30.T33UUU.2022103T101559.v2.0.B05", "b05", None),
        ("LC09_L2SP_021039_20220413_20220420_02_T1_SR_B7", "sr_b7", None),
        ("rededge1", "rededge1", None),
        ("scene_nir08", "nir08", None),
        ("T33UUU_SCL_20m", "scl", "scl"),
        ("LC09_x_QA_PIXEL", "qa_pixel", "qa_pixel"),
        ("HLS.S30.T33UUU.2022103T101559.v2.0.Fmask", "fmask", "fmask"),
    ],
)
def test_names_of_files(stem, word, mask):
    assert named_band(stem) == (word, mask)


def test_names_that_tell_no_band_and_sensors():
    assert [named_band(stem) for stem in ("preview", "infrared", "B13", "AOT_10m", "TCI", "LC08_ST_B10_x")] == [
        None
    ] * 6
    assert sensor_of(["red", "nir"], 10) == sensor_of(["B8A", "B04"], 30) == "sentinel2"
    assert sensor_of(["red", "nir"], 30) == sensor_of(["HLS.L30.T33UUU.2022103T101559.v2.0.B05"], 30) == "landsat"
    assert sensor_of(["red", "nir"], 3) is None
