"""What names of bands tell of a city, and what stays as it was."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine

from c2seg.data import open_city
from c2seg.data.city import Band
from c2seg.data.spectral import match_bands
from c2seg.types import Window


@pytest.fixture
def city(tmp_path):
    """Return a function that writes a city of one raster whose bands have names, and opens it."""

    def make(names, *, yaml="", modality="msi", name="a", tags=(), values=None):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        stack = np.arange(len(names), dtype=np.uint16)[:, None, None] * 100 + 50 + np.zeros((1, 8, 8), np.uint16)
        place = Affine(10, 0, 4e5, 0, -10, 5e6)
        with rasterio.open(
            folder / f"{modality}.tif", "w", driver="GTiff", height=8, width=8, count=len(names), dtype="uint16",
            crs="EPSG:32633", transform=place,
        ) as dataset:  # fmt: skip
            dataset.write(stack if values is None else values)
            dataset.descriptions = names
            for index, facts in enumerate(tags, start=1):
                dataset.update_tags(index, **facts)
        if yaml:
            (folder / "city.yaml").write_text(yaml)
        return open_city(folder)

    return make


def _bands(city, modality="msi"):
    return city.scenes[0].modality(modality).bands


def test_names_give_roles_and_wavelengths(city):
    bands = _bands(city(["B04", "B03", "B02", "B08", "B8A"]))
    assert bands[0] == Band("B04", "red", 664.6, 30.0)
    assert [band.role for band in bands] == ["red", "green", "blue", "nir", None]


def test_city_yaml_and_the_file_count_first(city):
    yaml = "modalities: {msi: {file: msi.tif, bands: [{name: B04}, {name: B8A, role: red}]}}"
    assert _bands(city(["B04", "B8A"], yaml=yaml)) == (Band("B04"), Band("B8A", "red"))
    stated = city(["B04", "B8A"], tags=({"wavelength": "660", "wavelength_units": "nm"}, {}), name="b")
    assert _bands(stated)[0] == Band("B04", "red", 660.0, None)


def test_a_wavelength_that_contradicts_the_name_is_said(city):
    stated = city(["B02", "B8A"], tags=({"wavelength": "842", "wavelength_units": "nm"}, {}))
    assert _bands(stated)[0] == Band("B02", None, 842.0)
    assert any("B02 of Sentinel-2 lies at 492.7 nm, the file states 842 nm" in note for note in stated.notes)


def test_names_that_fit_several_sensors_are_said(city):
    opened = city(["B1", "B2", "B3", "B4"])
    assert [band.role for band in _bands(opened)] == [None] * 4
    assert any("differ between" in note for note in opened.notes)


def test_other_order_is_matched(city):
    first, second = city(["B02", "B03", "B04", "B8A"]), city(["B8A", "B04", "B03", "B02"], name="b")
    matched, notes = match_bands(second, {"msi": _bands(first)})
    window = Window(0, 0, 1, 1)
    values = [c.scenes[0].read("msi", window)[0][:, 0, 0].tolist() for c in (second, matched)]
    assert values[1] == values[0][::-1]
    assert "by role" in notes[0]


def test_models_without_roles_see_what_they_saw(city):
    opened = city(["B02", "B03", "B04", "B8A"])
    plain = tuple(
        Band(band.name) for band in _bands(opened)
    )  # as a model remembers that was trained before names counted
    same, notes = match_bands(opened, {"msi": plain})
    assert same == opened
    assert notes == ()


def test_names_of_radar_bands(city):
    assert [band.role for band in _bands(city(["Gamma0_VV", "Gamma0_VH"], modality="sar"), "sar")] == ["vv", "vh"]
