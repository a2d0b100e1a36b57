from __future__ import annotations

import pytest

from c2seg.raster import known_bands


def _roles(names, tags=None):
    return [band.role if band else None for band in known_bands(names, tags).bands]


@pytest.mark.parametrize(
    ("names", "sensor", "roles"),
    [
        (["B02", "B03", "B04", "B08", "B8A"], "Sentinel-2", ["blue", "green", "red", "nir", None]),
        (["B2", "B3", "B4", "B8A", "B12"], "Sentinel-2", ["blue", "green", "red", "nir", None]),
        (["SR_B2", "SR_B5", "SR_B4", "ST_B10"], "Landsat 8/9", ["blue", "nir", "red", None]),
        (["Oa04 (490 nm)", "Oa06_radiance", "Oa08", "Oa17"], "Sentinel-3 OLCI", ["blue", "green", "red", "nir"]),
        (["B4 (665 nm)", "B3 (560 nm)", "B8A (865 nm)"], "Sentinel-2", ["red", "green", "nir"]),
        (["T32UQD_20240601_B04_10m", "T32UQD_20240601_B8A_20m"], "Sentinel-2", ["red", "nir"]),
    ],
)
def test_distinct_names_tell_the_sensor(names, sensor, roles):
    known = known_bands(names)
    assert known.sensor == sensor
    assert [band.role for band in known.bands] == roles
    assert known.note == ""


def test_wavelengths_and_widths_are_those_of_the_sensor():
    band = known_bands(["B8A"]).bands[0]
    assert (band.wavelength_nm, band.fwhm_nm) == (864.7, 21.0)
    assert known_bands(["SR_B5", "SR_B6", "SR_B10"]).bands[0].wavelength_nm == 865.0


def test_names_of_several_sensors_are_not_guessed():
    known = known_bands(["B1", "B2", "B3", "B4", "B5"])
    assert known.sensor is None
    assert known.bands == (None, None, None, None, None)
    assert "B1, B2, B3, B4, B5 differ between Sentinel-2 and Landsat 8/9 and Landsat 4-7" in known.note


def test_what_all_sensors_agree_on_counts():
    known = known_bands(["B02", "B03", "B04"])  # Sentinel-2, or Landsat 8 in the harmonized product
    assert [(band.role, band.fwhm_nm) for band in known.bands] == [("blue", None), ("green", None), ("red", None)]
    assert known.note == ""
    assert known_bands(["B02", "B04", "B08"]).bands[2] is None  # near infrared or panchromatic
    assert "B08 differ between" in known_bands(["B02", "B04", "B08"]).note


def test_tags_decide_between_sensors():
    tags = {"SPACECRAFT_ID": "LANDSAT_5"}
    assert _roles(["B1", "B2", "B3", "B4"], tags) == ["blue", "green", "red", "nir"]
    assert _roles(["B2", "B3", "B4", "B8"], {"TITLE": "Sentinel-2 L2A"}) == ["blue", "green", "red", "nir"]
    assert _roles(["B2", "B3", "B4", "B8"], {"PLATFORM": "landsat-9"}) == ["blue", "green", "red", None]


@pytest.mark.parametrize(
    ("names", "roles"),
    [
        (["VV", "VH"], ["vv", "vh"]),
        (["Sigma0_VV_db", "sigma0_vh"], ["vv", "vh"]),
        (["red", "green", "blue", "nir08"], ["red", "green", "blue", "nir"]),
        (["red", "nir", "nir08"], ["red", "nir", None]),
        (["VV_asc", "VV_desc"], [None, None]),
        (["VV/VH", "ratio_VV_VH", ""], [None, None, None]),
        (["band 1", "elevation"], [None, None]),
    ],
)
def test_common_names(names, roles):
    assert _roles(names) == roles


def test_numbers_that_no_sensor_has():
    assert _roles(["B1", "B77"]) == [None, None]
    assert _roles(["B02", "B02"]) == [None, None]
