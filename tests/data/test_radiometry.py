"""Checks of reflectance: dark objects, bright targets, haze, units."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from c2seg.data.city import Band, City, Modality, Scene
from c2seg.data.radiometry import radiometry_notes
from c2seg.data.units import physical_units, reflectance_notes
from c2seg.legend import c2seg13
from c2seg.raster import ArrayRaster
from c2seg.types import Grid

CENTERS = (492.0, 560.0, 665.0, 833.0, 1614.0)
BANDS = tuple(Band(wavelength_nm=nm) for nm in CENTERS)


def city(reflectance, *, scale=1e-4, offset=0.0, name="toy", modality="msi", dtype="uint16"):
    """A city of reflectance [C, H, W] stored as integers of 0.0001, or as it is where ``dtype`` is of floats."""
    is_float = np.dtype(dtype).kind == "f"
    stored = reflectance.astype(dtype) if is_float else np.rint(reflectance * 1e4).astype(dtype)
    grid = Grid(*reflectance.shape[1:], Affine(10, 0, 0, 0, -10, 0), None)
    bands = BANDS[: len(reflectance)] if modality == "msi" else (Band(role="vv"), Band(role="vh"))
    stack = Modality(ArrayRaster(stored), name=modality, bands=bands, scale=scale, offset=offset)
    return City(name, c2seg13(), (Scene(name, grid, {modality: stack}),))


@pytest.fixture
def reflectance():
    return np.random.default_rng(0).uniform(0.01, 0.4, (5, 40, 40))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r, None),
        (lambda r: r + 0.1, "lie at +0.11 reflectance or more: an offset of 1000 DN was probably left in"),
        (lambda r: r / 10, "brightest pixels of all bands lie at 0.040"),
        (lambda r: r * 4.5, "lie above 1.8 reflectance"),
    ],
)
def test_dark_objects_and_bright_targets(reflectance, change, words):
    notes = radiometry_notes(city(change(reflectance)))
    assert notes == [] if words is None else len(notes) == 1 and words in notes[0]


def test_an_offset_that_is_taken_off_twice(reflectance):
    (note,) = radiometry_notes(city(reflectance, offset=-0.1))
    assert "lie at -0.09 reflectance: an offset was probably taken off twice" in note


def test_haze_falls_with_the_wavelength(reflectance):
    haze = 0.1 * (np.array(CENTERS) / 492) ** -2
    (note,) = radiometry_notes(city(reflectance + haze[:, None, None]))
    assert "dark pixels fall from 0.11 reflectance in its shortest band to 0.0" in note
    assert "in the infrared: haze" in note


def test_blue_shadows_on_snow_are_no_haze(reflectance):
    haze = 0.1 * (np.array(CENTERS) / 492) ** -2
    snow = np.array([0.5, 0.5, 0.5, 0.4, 0.0])
    values = reflectance + haze[:, None, None]
    values[:, :, 4:] += snow[:, None, None]
    assert radiometry_notes(city(values)) == []


def test_a_wrong_scale_is_told(reflectance):
    (note,) = radiometry_notes(city(reflectance, scale=1e-3))
    assert "says reflectance, but 1 % of the values lie above 4.0" in note


def test_units_are_told_by_how_numbers_are_stored(reflectance):
    units = {
        "scaled": physical_units(city(reflectance), ["msi"])["msi"],
        "plain": physical_units(city(reflectance, scale=1.0), ["msi"])["msi"],
        "left in": physical_units(city(reflectance + 0.1), ["msi"])["msi"],
        "gray": physical_units(city(reflectance * 0.03, scale=1.0, dtype="uint8"), ["msi"])["msi"],
        "standardized": physical_units(city(reflectance * 10 - 2, scale=1.0, dtype="float32"), ["msi"])["msi"],
    }
    assert [(unit.unit, unit.scale, unit.offset) for unit in units.values()] == [
        ("reflectance", 1.0, 0.0), ("reflectance", 1e-4, 0.0), ("reflectance", 1.0, -0.1), (None, 1.0, 0.0), (None, 1.0, 0.0),
    ]  # fmt: skip
    (note,) = reflectance_notes({name: {"msi": unit} for name, unit in units.items()})
    assert "that of plain is reflectance x 10000; give `scale: 0.0001` in the city.yaml of plain" in note


def test_units_of_radar(reflectance):
    decibel = city(reflectance[:2] * 20 - 20, scale=1.0, modality="sar", dtype="float32")
    power = city(reflectance[:2], scale=1.0, modality="sar", dtype="float32")
    gray = city(reflectance[:2] * 0.03, scale=1.0, modality="sar", dtype="uint8")
    assert [physical_units(one, ["sar"])["sar"].unit for one in (decibel, power, gray)] == ["dB", "linear power", None]


@pytest.mark.skipif("C2SEG_REAL_DATA" not in os.environ, reason="no real data")
def test_real_places(caplog):
    from c2seg.data import open_city

    root = Path(os.environ["C2SEG_REAL_DATA"])
    notes = {
        name: radiometry_notes(open_city(root / folder / name))
        for folder, names in (
            ("s2s1-places", ("chile", "denmark", "ontario")),
            ("potsdam-leipzig", ("potsdam", "leipzig")),
        )
        for name in names
    }
    assert "an offset of 1000 DN was probably left in" in notes["chile"][0]
    assert "top of the atmosphere" in notes["leipzig"][0]
    assert notes["denmark"] == notes["ontario"] == notes["potsdam"] == []
