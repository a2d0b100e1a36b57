from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from c2seg.data import open_city
from c2seg.data.fill import FillSearch
from c2seg.data.inspection import inspect_city
from c2seg.data.radiometry import dark_ends
from c2seg.data.remarks import of_city, same_images


@pytest.fixture
def reflectance():
    """Reflectance of four bands, dark pixels near 0.01."""
    return np.random.default_rng(0).uniform(0.01, 0.4, (4, 40, 40))


@pytest.fixture
def make(tmp_path):
    """Return a function that writes a city of reflectance as integers."""

    def write(name, values, *, offset=0, yaml="scale: 0.0001", pixel=(10.0, 10.0), dtype="uint16"):
        folder = tmp_path / name
        folder.mkdir()
        stored = np.rint(values * 1e4 + offset).astype(dtype) if dtype == "uint16" else values.astype(dtype)
        with rasterio.open(
            folder / "msi.tif", "w", driver="GTiff", height=40, width=40, count=len(values), dtype=dtype,
            crs="EPSG:32633", transform=Affine(pixel[0], 0, 4e5, 0, -pixel[1], 5e6),
        ) as dataset:  # fmt: skip
            dataset.write(stored)
        (folder / "city.yaml").write_text(
            f"modalities: {{msi: {{file: msi.tif, {yaml}}}}}" if yaml else f"name: {name}"
        )
        return folder

    return write


@pytest.mark.parametrize("yaml", ["scale: 0.0001", ""])
def test_an_offset_that_is_left_in_is_told(make, reflectance, yaml):
    left_in, removed = make("new", reflectance, offset=1000, yaml=yaml), make("old", reflectance, yaml=yaml)
    assert any("an offset of 1000 DN was probably left in" in text for text in of_city(open_city(left_in)))
    assert of_city(open_city(removed)) == []
    (text,) = dark_ends([open_city(left_in), open_city(removed)])
    assert "0.11 reflectance in new and at 0.01 in old" in text
    notes = inspect_city(left_in, against=removed)["notes"]
    assert sum("offset" in note for note in notes) == 2


def test_the_offset_in_city_yaml_is_no_remark(make, reflectance):
    city = open_city(make("new", reflectance, offset=1000, yaml="scale: 0.0001, offset: -0.1"))
    assert of_city(city) == []


def test_one_dark_band_clears_a_bright_scene(make, reflectance):
    snow = np.concatenate([reflectance[:1], 0.5 + reflectance[1:]])
    assert of_city(open_city(make("snow", snow))) == []


def test_values_that_are_no_reflectance_are_not_judged(make, reflectance):
    assert of_city(open_city(make("raw", reflectance * 300 + 90, yaml="", dtype="float32"))) == []


def test_pixels_that_are_not_square(make, reflectance):
    (text,) = of_city(open_city(make("a", reflectance, pixel=(10.0, 12.0))))
    assert "not square: 10 x 12" in text


def test_one_scene_twice(make, reflectance):
    a, b, c = (
        make(name, values) for name, values in (("a", reflectance), ("b", reflectance), ("c", reflectance[::-1]))
    )
    assert same_images(open_city(a), open_city(b)) == ["a and b hold the same msi: one scene twice"]
    assert same_images(open_city(a), open_city(c)) == []
    (a.parent / "both").mkdir()
    (a.parent / "city.yaml").write_text("scenes: [a, b]")
    assert any("a and b hold the same msi" in text for text in of_city(open_city(a.parent)))


def test_fill_in_a_raster_of_one_band():
    search, values = FillSearch(), np.random.default_rng(0).normal(size=(1, 50, 50))
    values[:, :10] = -9999
    search.add(values, np.ones((50, 50), bool))
    assert "-9999 in all bands" in search.note("dem.tif")
    zeros = FillSearch()
    zeros.add(np.maximum(values, 0), np.ones((50, 50), bool))
    assert zeros.note("dem.tif") is None  # 0 is a value like others


@pytest.mark.skipif("C2SEG_REAL_DATA" not in os.environ, reason="C2SEG_REAL_DATA names the folder of real imagery")
@pytest.mark.filterwarnings("ignore")
def test_real_offset():
    places = Path(os.environ["C2SEG_REAL_DATA"]) / "s2s1-places"
    cities = {name: open_city(places / name) for name in ("chile", "denmark", "ontario")}
    assert {name: any("left in" in text for text in of_city(city)) for name, city in cities.items()} == {
        "chile": True, "denmark": False, "ontario": False,
    }  # fmt: skip
    assert len(dark_ends([cities["chile"], cities["denmark"]])) == 1
    assert dark_ends([cities["ontario"], cities["denmark"]]) == []
