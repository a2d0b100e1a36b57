"""Several files as one modality."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import rasterio
from affine import Affine

from c2seg.data import cached, open_city
from c2seg.data.inputs import city_inputs
from c2seg.errors import DataError
from c2seg.types import Window


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name, side, pixel, facts in (
        ("B02.tif", 40, 10, {"nodata": 0}),
        ("B04.tif", 40, 10, {"nodata": 65535}),
        ("B8A.tif", 20, 20, {}),
        ("B11.tif", 20, 20, {}),
    ):
        values = rng.integers(100, 3000, (1, side, side)).astype(np.uint16)
        if "nodata" in facts:
            values[0, 3, 5] = facts["nodata"]
        with rasterio.open(
            tmp_path / name, "w", driver="GTiff", height=side, width=side, count=1, dtype="uint16", crs="EPSG:32633",
            transform=Affine(pixel, 0, 4e5, 0, -pixel, 5e6), **facts,
        ) as dataset:  # fmt: skip
            dataset.write(values)
            if name == "B11.tif":
                dataset.scales, dataset.offsets = (1e-4,), (-0.1,)
    return tmp_path


def _city(folder, files="[B02.tif, B8A.tif, B04.tif, B11.tif]", more=""):
    (folder / "city.yaml").write_text(f"modalities: {{msi: {{files: {files}{more}}}}}")
    return open_city(folder)


def _stored(folder, name):
    with rasterio.open(folder / name) as dataset:
        return dataset.read(1).astype(np.float32)


def test_files_lie_on_the_grid_of_the_finest(folder):
    city = _city(folder)
    scene = city.scenes[0]
    assert (scene.grid.height, scene.grid.width) == (40, 40)
    values, valid = scene.read("msi", scene.grid.window)
    np.testing.assert_allclose(values[0], _stored(folder, "B02.tif"))
    np.testing.assert_allclose(values[1], _stored(folder, "B8A.tif").repeat(2, 0).repeat(2, 1))
    np.testing.assert_allclose(
        values[3], (_stored(folder, "B11.tif") * 1e-4 - 0.1).repeat(2, 0).repeat(2, 1), rtol=1e-5
    )
    assert not valid[3, 5]
    assert valid.sum() == 1599


def test_windows_agree_with_the_whole(folder):
    scene = _city(folder).scenes[0]
    whole, valid = scene.read("msi", scene.grid.window)
    for window in (Window(3, 5, 7, 9), Window(0, 0, 1, 1), Window(31, 33, 9, 7)):
        values, inside = scene.read("msi", window)
        np.testing.assert_array_equal(values, whole[(slice(None), *window.slices)])
        np.testing.assert_array_equal(inside, valid[window.slices])


def test_names_of_files_tell_the_bands(folder):
    bands = _city(folder).scenes[0].modality("msi").bands
    assert [(band.name, band.role) for band in bands] == [
        ("B02", "blue"),
        ("B8A", "nir"),
        ("B04", "red"),
        ("B11", None),
    ]
    described = _city(folder, more=", bands: [{name: a}, {name: b}, {name: c}, {name: d}], scale: 0.0001")
    assert [band.name for band in described.scenes[0].modality("msi").bands] == ["a", "b", "c", "d"]


def test_the_fingerprint_depends_on_every_file(folder):
    first = _city(folder).fingerprint()
    assert _city(folder).fingerprint() == first
    assert _city(folder, "[B8A.tif, B02.tif, B04.tif, B11.tif]").fingerprint() != first
    with rasterio.open(folder / "B11.tif", "r+") as dataset:
        dataset.write(np.full((1, 1, 1), 7, np.uint16), window=((0, 1), (0, 1)))
    assert _city(folder).fingerprint() != first


def test_it_is_cached_pickled_and_protected(folder, tmp_path):
    city = _city(folder)
    window = city.scenes[0].grid.window
    expected = city.scenes[0].read("msi", window)
    for other in (pickle.loads(pickle.dumps(city)), cached(city, tmp_path / "cache", budget_bytes=0)):
        for a, b in zip(other.scenes[0].read("msi", window), expected, strict=True):
            np.testing.assert_array_equal(a[..., expected[1]], b[..., expected[1]])
    assert {folder / name for name in ("B02.tif", "B04.tif", "B8A.tif", "B11.tif")} <= set(city_inputs(folder, city))


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("{files: []}", "files"),
        ("{file: B02.tif, files: [B04.tif]}", "give `file:` or `files:`, one of them"),
        ("{nodata: 0}", "give `file:` or `files:`, one of them"),
        ("{files: [B02.tif, B03.tif]}", "B03.tif does not exist"),
        ("{files: [B02.tif], keep: '1'}", "name the files that are used"),
        ("{files: [B02.tif, odd.tif]}", "not an integer multiple"),
        ("{files: [B02.tif, B04.tif], wavelengths_nm: [490]}", "has 2 bands, city.yaml gives 1 wavelengths_nm"),
    ],
)
def test_what_does_not_fit_is_said(folder, yaml, message):
    with rasterio.open(
        folder / "odd.tif", "w", driver="GTiff", height=9, width=9, count=1, dtype="uint16", crs="EPSG:32633",
        transform=Affine(15, 0, 4e5, 0, -15, 5e6),
    ) as dataset:  # fmt: skip
        dataset.write(np.ones((1, 9, 9), np.uint16))
    (folder / "city.yaml").write_text(f"modalities: {{msi: {yaml}}}")
    with pytest.raises(DataError, match=message):
        open_city(folder)
