"""Cities of files as the world delivers them: validity, scale, bands in another order, names in any case, polygons."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import yaml

from c2seg.data import City, open_city, open_labeled_city
from c2seg.data.city import Band
from c2seg.data.fill import FillSearch
from c2seg.data.inputs import city_inputs
from c2seg.data.inspection import inspect_city
from c2seg.data.spectral import differing_bands, match_bands
from c2seg.data.units import radar_unit, radar_unit_of, units_note
from c2seg.errors import DataError
from c2seg.types import Window
from helpers.odd_rasters import NORTH_UP, ramp, write_odd, write_vrt
from helpers.polygons import write_polygons

WHOLE = Window(0, 0, 20, 30)
HALF = np.arange(20)[:, None] * np.ones(30) >= 10


def describe(folder, **content):
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "city.yaml").write_text(yaml.safe_dump(content))
    return folder


def read(city: City, name="msi"):
    return city.scenes[0].read(name, WHOLE)


def test_masks_count_in_reading_and_in_inspection(tmp_path):
    write_odd(tmp_path / "msi.tif", ramp(), mask=HALF)
    city = open_city(tmp_path)
    assert np.array_equal(read(city)[1], HALF)
    scene = inspect_city(tmp_path)["scenes"][0]
    assert scene["valid_pixels"] == HALF.sum()
    assert scene["modalities"]["msi"]["masked"]
    weights = city.scenes[0].read_native("msi", WHOLE)[1]
    assert np.array_equal(weights != 0, HALF)


def test_a_mask_counts_beside_a_raster_of_valid_pixels_whose_nodata_counts_too(tmp_path):
    write_odd(tmp_path / "msi.tif", ramp(), mask=HALF)
    marks = np.full((1, 20, 30), 7, np.uint8)
    marks[0, :, :10], marks[0, :, 10:20] = 0, 9
    write_odd(tmp_path / "valid.tif", marks, nodata=9)
    assert np.array_equal(read(open_city(tmp_path))[1], HALF & (np.arange(30) >= 20))


def test_nodata_and_masks_of_labels_are_unlabeled(tmp_path):
    write_odd(tmp_path / "msi.tif", ramp())
    values = np.full((1, 20, 30), 4, np.uint8)
    values[0, 0] = 99
    write_odd(tmp_path / "label.tif", values, nodata=99, mask=None)
    ids = open_labeled_city(tmp_path).read_label(0, WHOLE)
    assert (ids[0] == 0).all()
    assert (ids[1:] == 4).all()
    write_odd(tmp_path / "label.tif", np.full((1, 20, 30), 4, np.uint8), mask=HALF)
    assert np.array_equal(open_labeled_city(tmp_path).read_label(0, WHOLE) == 4, HALF)
    floats = np.where(HALF, np.float32(4), np.nan)[None].astype(np.float32)
    write_odd(tmp_path / "label.tif", floats)
    assert np.array_equal(open_labeled_city(tmp_path).read_label(0, WHOLE) == 4, HALF)


def test_a_nodata_value_that_the_label_mapping_knows_keeps_its_meaning(tmp_path):
    write_odd(tmp_path / "msi.tif", ramp())
    values = np.full((1, 20, 30), 255, np.uint8)
    values[0, 0] = 4
    write_odd(tmp_path / "label.tif", values, nodata=255)
    assert np.array_equal(open_labeled_city(tmp_path).read_label(0, WHOLE), values[0])


def test_scale_and_offset_of_the_file_count_unless_city_yaml_gives_others(tmp_path):
    path = write_odd(tmp_path / "msi.tif", ramp())
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.5, 0.5, 2.0), (-1, -1, -1)
    city = open_city(tmp_path)
    expected = ramp() * np.array([0.5, 0.5, 2.0])[:, None, None] - 1
    assert np.allclose(read(city)[0], expected)
    assert "scale (one of each band) and offset (-1) are applied" in city.notes[0]
    assert np.array_equal(read(city.as_stored())[0], ramp())
    described = describe(tmp_path, modalities={"msi": {"file": "msi.tif", "scale": 3}})
    assert np.array_equal(read(open_city(described))[0], ramp() * np.float32(3))


def test_bad_bands_are_left_out_unless_bands_are_selected(tmp_path):
    path = write_odd(tmp_path / "hsi.dat", ramp(), driver="ENVI")
    header = path.with_suffix(".hdr")
    header.write_text(
        header.read_text() + "wavelength units = Nanometers\nwavelength = {500, 600, 700}\nbbl = {1, 0, 1}\n"
    )
    city = open_city(describe(tmp_path, modalities={"hsi": {"file": "hsi.dat"}}))
    assert [band.wavelength_nm for band in city.scenes[0].modality("hsi").bands] == [500, 700]
    assert np.array_equal(read(city, "hsi")[0], ramp()[[0, 2]])
    city = open_city(describe(tmp_path, modalities={"hsi": {"file": "hsi.dat", "keep": "1-2"}}))
    assert [band.wavelength_nm for band in city.scenes[0].modality("hsi").bands] == [500, 600]


def test_an_alpha_band_that_city_yaml_describes_is_an_image(tmp_path):
    values = np.concatenate([ramp(3, dtype=np.uint8), np.full((1, 20, 30), 255, np.uint8)])
    write_odd(tmp_path / "msi.tif", values)
    assert open_city(tmp_path).scenes[0].modality("msi").count == 3
    bands = [{"name": name} for name in ("B2", "B3", "B4", "B8")]
    described = describe(tmp_path, modalities={"msi": {"file": "msi.tif", "bands": bands}})
    assert open_city(described).scenes[0].modality("msi").count == 4


def test_colors_are_roles_of_optical_images_only(tmp_path):
    for name in ("msi", "sar", "hsi"):
        write_odd(tmp_path / f"{name}.tif", ramp(3, dtype=np.uint8))  # flagged as red, green, blue by default
    scene = open_city(tmp_path).scenes[0]
    assert [band.role for band in scene.modality("msi").bands] == ["red", "green", "blue"]
    assert {band.role for name in ("sar", "hsi") for band in scene.modality(name).bands} == {None}


def test_undeclared_fill_is_reported_and_can_be_declared(tmp_path):
    values = ramp() + 10
    values[:, :4] = 0
    write_odd(tmp_path / "msi.tif", values)
    (note,) = inspect_city(tmp_path)["notes"]
    assert "120 pixels (20.0%) have 0 in all bands, the smallest value" in note
    described = describe(tmp_path, modalities={"msi": {"file": "msi.tif", "nodata": 0}})
    report = inspect_city(described)
    assert report["notes"] == []
    assert report["scenes"][0]["valid_pixels"] == 480


def test_an_image_without_fill_has_no_note():
    search = FillSearch()
    search.add(np.random.default_rng(0).integers(0, 9, (3, 50, 50)), np.ones((50, 50), bool))
    assert search.note("a") is None or "smallest" in search.note("a")
    search = FillSearch()
    search.add(ramp(3, 50, 50), np.ones((50, 50), bool))
    assert search.note("a") is None


def test_standard_names_count_in_any_case(tmp_path):
    write_odd(tmp_path / "MSI.TIF", ramp())
    write_odd(tmp_path / "Label.Tiff", np.full((1, 20, 30), 4, np.uint8))
    assert (open_labeled_city(tmp_path).read_label(0, WHOLE) == 4).all()
    write_odd(tmp_path / "msi.tiff", ramp())
    with pytest.raises(DataError, match=r"has MSI\.TIF and msi\.tiff; keep one"):
        open_city(tmp_path)


def test_scenes_are_kept_apart_by_their_entries(tmp_path):
    for year in ("2020", "2021"):
        write_odd(tmp_path / year / "images/msi.tif", ramp())
        write_odd(tmp_path / year / "images/label.tif", np.full((1, 20, 30), int(year) - 2010 - 6, np.uint8))
    describe(tmp_path, scenes=["2020/images", "2021/images"])
    city = open_labeled_city(tmp_path)
    assert [scene.name for scene in city.images.scenes] == ["2020-images", "2021-images"]
    assert [city.read_label(k, WHOLE)[0, 0] for k in (0, 1)] == [4, 5]
    with pytest.raises(DataError, match="two scenes have the same name"):
        open_city(describe(tmp_path, scenes=["2020/images", "2020/images"]))


@pytest.mark.parametrize("value", [4, "Urban fabric"])
def test_polygons_are_labels(tmp_path, value):
    pytest.importorskip("pyogrio")
    write_odd(tmp_path / "msi.tif", ramp())
    write_polygons(tmp_path / "ref.geojson", field="kind", value=value)
    describe(tmp_path, modalities={"msi": {"file": "msi.tif"}}, label={"file": "ref.geojson", "field": "kind"})
    ids = open_labeled_city(tmp_path).read_label(0, WHOLE)
    expected = np.zeros((20, 30), np.uint8)
    expected[0:10, 5:15] = 4 if value == 4 else 3
    assert np.array_equal(ids, expected)


@pytest.mark.parametrize(("change", "message"), [
    ({"field": "code"}, "unknown field 'class'"), ({"value": "Mars"}, "'Mars' of class are neither integers nor classes"),
    ({"geometry": {"type": "Point", "coordinates": [600_050, 5_299_950]}}, "has no polygon"),
    ({"crs": "urn:ogc:def:crs:OGC:1.3:CRS84"}, "no polygon with a class covers|cannot be transformed"),
])  # fmt: skip
def test_polygons_that_cannot_be_labels(tmp_path, change, message):
    pytest.importorskip("pyogrio")
    write_odd(tmp_path / "msi.tif", ramp())
    write_polygons(tmp_path / "ref.geojson", **change)
    describe(tmp_path, modalities={"msi": {"file": "msi.tif"}}, label="ref.geojson")
    with pytest.raises(Exception, match=message) as caught:
        open_labeled_city(tmp_path)
    assert type(caught.value).__module__ == "c2seg.errors"


def test_a_vector_file_is_what_its_name_says(tmp_path):
    pytest.importorskip("pyogrio")
    write_odd(tmp_path / "msi.tif", ramp())
    (tmp_path / "ref.geojson").write_text('<OGRVRTDataSource><OGRVRTLayer name="a"></OGRVRTLayer></OGRVRTDataSource>')
    describe(tmp_path, modalities={"msi": {"file": "msi.tif"}}, label="ref.geojson")
    with pytest.raises(DataError, match="its content is not what its name says"):
        open_labeled_city(tmp_path)


def named(*names):
    return tuple(Band(name) for name in names)


def at(*wavelengths):
    return tuple(Band(wavelength_nm=nm) for nm in wavelengths)


@pytest.mark.parametrize(("bands", "available", "differ"), [
    (named("B2", "B3"), named("b3", "B2"), True), (named("B2", "B3"), named("B2", "B3"), False),
    (named("B2", "B3"), named("blue", "green"), False), (named("B8", "B4"), named("B8A", "B4"), True),
    (named("", ""), named("B3", "B2"), False), (named("a", "a"), named("a", "b"), False),
    (at(490, 560), at(492, 559), False), (at(490, 560), at(560, 490), True), (at(490, 560), at(490, None), False),
    ((Band(role="red"), Band(role="nir")), (Band(role="nir"), Band(role="red")), True),
])  # fmt: skip
def test_what_tells_that_bands_differ(bands, available, differ):
    assert differing_bands(bands, available) is differ


def test_the_same_bands_in_another_order_are_reordered_and_contradictions_refused(tmp_path):
    write_odd(tmp_path / "msi.tif", ramp(), names=("B4", "B3", "B2"), nodata=1)
    with rasterio.open(tmp_path / "msi.tif", "r+") as dataset:
        dataset.scales = (1.0, 10.0, 100.0)
    city = open_city(tmp_path)
    matched, notes = match_bands(city, {"msi": named("B2", "B3", "B4")})
    assert notes == ("msi of " + tmp_path.name + ": 3 bands matched to 3 by name",)
    valid = read(city)[1]
    assert np.array_equal(read(matched)[1], valid)
    assert np.allclose(read(matched)[0][:, valid], read(city)[0][::-1][:, valid])
    assert matched.fingerprint() != city.fingerprint()
    assert match_bands(city, {"msi": named("B4", "B3", "B2")}) == (city, ())
    with pytest.raises(DataError, match=r"its bands \(B4; B3; B2\) contradict those that are needed \(B4; B3; B8\)"):
        match_bands(city, {"msi": named("B4", "B3", "B8")})


def test_radar_units():
    assert radar_unit(np.array([0.1, 0.2]), np.array([0.0, 0.01])) == "linear"
    assert radar_unit(np.array([-10.0, -15.0]), np.array([-30.0, -40.0])) == "dB"
    assert radar_unit(np.array([1.0, -15.0]), np.array([-30.0, -40.0])) is None
    assert units_note({"a": "dB", "b": None, "c": "dB"}) is None
    assert "sar of b looks like linear power" in units_note({"a": "dB", "b": "linear"})


def test_the_unit_of_a_city_is_found_from_its_valid_pixels(tmp_path):
    values = -np.abs(np.random.default_rng(0).normal(12, 3, (2, 20, 30))).astype(np.float32)
    values[:, 0] = 9999
    write_odd(tmp_path / "sar.tif", values, nodata=9999)
    assert radar_unit_of(open_city(tmp_path)) == "dB"


@pytest.mark.parametrize(("make", "message"), [
    (lambda path: (path / "model.safetensors").write_text(""), "is a run folder; give a city"),
    (lambda path: (path / "nothing.txt").write_text(""), "contains no supported dataset"),
])  # fmt: skip
def test_what_a_folder_is_that_is_no_city(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(DataError, match=message):
        open_city(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"), [("m.safetensors", "is a model; give a city"), ("m.tif", "is a raster, not a city")]
)
def test_what_a_file_is_that_is_no_city(tmp_path, name, message):
    (tmp_path / name).write_text("")
    with pytest.raises(DataError, match=message):
        open_city(tmp_path / name)


def test_a_vrt_is_a_modality(tmp_path):
    write_odd(tmp_path / "parts/a.tif", ramp())
    write_vrt(tmp_path / "m.vrt", "parts/a.tif", (3, 20, 30))
    city = open_city(describe(tmp_path, modalities={"msi": {"file": "m.vrt"}}))
    assert city.scenes[0].grid.transform == NORTH_UP
    assert np.array_equal(read(city)[0], ramp())
    assert tmp_path / "parts/a.tif" in {path.resolve() for path in city_inputs(tmp_path)}  # no output may replace it
