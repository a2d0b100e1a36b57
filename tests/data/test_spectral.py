"""Bands of another sensor are matched to those of a model."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
import yaml

from c2seg.cli import run
from c2seg.data import Band, open_city
from c2seg.data.memory import layer_in_memory
from c2seg.data.spectral import ProjectedBands, band_weights, match_bands
from c2seg.raster import ArrayRaster
from c2seg.types import Window
from helpers.rasters import write_raster


def nm(*values):
    return [Band(wavelength_nm=value) for value in values]


def test_wavelengths_are_interpolated_between_neighbors_in_any_order():
    weights, how = band_weights(nm(500, 625, 710), nm(600, 500, 700))
    assert how == "by wavelength"
    np.testing.assert_allclose(weights, [[0, 1, 0], [0.75, 0, 0.25], [0, 0, 1]])


def test_roles_come_first_and_what_is_unknown_is_not_guessed():
    inputs = [Band(role="red"), Band(role="nir")]
    weights, how = band_weights(inputs, [Band(role="blue"), Band(role="nir"), Band(role="red")])
    assert how == "by role"
    np.testing.assert_array_equal(weights, [[0, 0, 1], [0, 1, 0]])
    assert band_weights(inputs, [Band(role="blue"), Band(role="red")]) is None
    assert band_weights(nm(500), [Band(), Band()]) is None
    assert band_weights(nm(500, 900), nm(490, 600)) is None


def test_nodata_spreads_only_from_bands_that_are_used():
    array = np.array([[[1.0, -9]], [[3.0, 5.0]], [[-9.0, 7.0]]], np.float32)
    projected = ProjectedBands(ArrayRaster(array, nodata=-9), np.array([[0.5, 0.5, 0], [0, 1, 0]], np.float32))
    np.testing.assert_array_equal(projected.read(Window(0, 0, 1, 2)), [[[2.0, np.nan]], [[3.0, 5.0]]])


def test_files_are_closed_once_projected_bands_are_in_memory():
    class File(ArrayRaster):
        closed = False

        def close(self):
            File.closed = True

    array = np.arange(4, dtype=np.float32).reshape(2, 1, 2)
    kept = layer_in_memory(ProjectedBands(File(array), np.array([[0.5, 0.5]], np.float32)))
    np.testing.assert_array_equal(kept.read(Window(0, 0, 1, 2)), [[[1.0, 2.0]]])
    assert File.closed


@pytest.fixture
def two_sensors(tmp_path):
    """The same spectra seen by 12 and by 7 bands; class 1 rises, class 3 falls with wavelength."""
    rng = np.random.default_rng(0)
    reference = (np.indices((48, 60)).sum(axis=0) // 15 % 2 * 2 + 1).astype(np.uint8)
    slope = np.where(reference == 1, 1.0, -1.0)
    for name, centers in {"source": np.linspace(450, 900, 12), "target": np.linspace(440, 910, 7)}.items():
        cube = 0.4 + slope * (centers[:, None, None] - 675) / 1000 + rng.normal(0, 0.03, (len(centers), 48, 60))
        write_raster(tmp_path / name / "hsi.tif", cube.astype(np.float32))
        write_raster(tmp_path / name / "label.tif", reference[None])
        content = {
            "modalities": {"hsi": {"file": "hsi.tif", "wavelengths_nm": [float(value) for value in centers]}},
            "label": "label.tif",
        }
        (tmp_path / name / "city.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "source", tmp_path / "target", reference


@pytest.mark.slow
def test_a_model_maps_another_sensor_whose_wavelengths_are_known(two_sensors, tmp_path, capsys):
    source, target, reference = two_sensors
    model = tmp_path / "run"
    assert run(["fit", "forest", "--source", str(source), "--out", str(model), "--set", "validation.folds=0"]) == 0
    capsys.readouterr()
    out = tmp_path / "map.tif"
    arguments = ["predict", str(model / "model.safetensors"), str(target), "--out", str(out), "--json"]
    assert run(arguments) == 0
    told = json.loads(capsys.readouterr().out)["maps"][0]["run"]["bands"]
    assert told == ["hsi of target: 7 bands matched to 12 by wavelength"]
    with rasterio.open(out) as file:
        assert (file.read(1) == reference).mean() > 0.95
    assert run(["fit", "forest", "--source", str(source), "--target", str(target), "--out", str(tmp_path / "b")]) == 0
    assert "7 bands matched to 12 by wavelength" in capsys.readouterr().err


def test_bands_in_another_order_are_put_in_place(make_city):
    folder = make_city(modalities=("msi",))
    described = [{"name": role, "role": role} for role in ("blue", "green", "red", "nir")]
    (folder / "city.yaml").write_text(yaml.safe_dump({"modalities": {"msi": {"file": "msi.tif", "bands": described}}}))
    city = open_city(folder)
    roles = ("red", "green", "blue", "nir")
    before = [band.role for band in city.scenes[0].modality("msi").bands]
    assert before == ["blue", "green", "red", "nir"]
    turned, notes = match_bands(city, {"msi": [Band(role=role) for role in roles]})
    assert notes
    window = Window(0, 0, 5, 5)
    np.testing.assert_array_equal(
        turned.scenes[0].read("msi", window)[0], city.scenes[0].read("msi", window)[0][[2, 1, 0, 3]]
    )
    same, nothing = match_bands(city, {"msi": [Band(role=role) for role in before]})
    assert same == city
    assert not nothing
