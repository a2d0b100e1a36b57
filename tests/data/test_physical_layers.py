"""Layers in physical units: bands by role and wavelength, units and offsets, validity, what a city has not."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from affine import Affine

from c2seg.data import Band, City, Modality, Normalizer, Scene, city_statistics, open_city
from c2seg.data.physical_layers import LAYERS, OPTICAL, RADAR, layer_weights, measured, with_physical_layers
from c2seg.data.spectral import match_bands
from c2seg.errors import DataError
from c2seg.legend import c2seg13
from c2seg.raster import ArrayRaster
from c2seg.types import Grid, Window

SIDE = 32
GRID = Grid(SIDE, SIDE, Affine(10, 0, 500_000, 0, -10, 5_000_000))
WHOLE = Window(0, 0, SIDE, SIDE)
S2 = [443, 492, 560, 665, 704, 741, 783, 833, 865, 945, 1614, 2202]
ROLES = {492: "blue", 560: "green", 665: "red", 833: "nir"}
BANDS = tuple(Band(f"b{nm}", ROLES.get(nm), nm) for nm in S2)
POLARIZATIONS = (Band("VV", "vv"), Band("VH", "vh"))


def numbers(offset=0, count=12, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.uniform(100, 4000, (count, SIDE, SIDE)) + offset).astype(np.uint16)


def city(**modalities):
    return City("town", c2seg13(), (Scene("town", GRID, modalities),))


def msi(values, bands=BANDS, scale=1e-4, **keys):
    return Modality(ArrayRaster(values), name="msi", bands=bands, scale=scale, **keys)


def sar(values):
    return Modality(ArrayRaster(values.astype(np.float32)), name="sar", bands=POLARIZATIONS)


def radar(seed=1):
    return np.random.default_rng(seed).uniform(-22, -6, (2, SIDE, SIDE))


def read(opened, layer=OPTICAL):
    return opened.scenes[0].read(layer, WHOLE)


def test_reflectance_of_the_bands_by_role_and_wavelength():
    values = numbers()
    opened, notes = with_physical_layers(city(msi=msi(values)), [OPTICAL])
    layer, valid = read(opened)
    places = [S2.index(nm) for nm in (492, 560, 665, 704, 741, 783, 833, 865, 1614, 2202)]
    np.testing.assert_allclose(layer, values[places] * 1e-4, atol=1e-6)
    assert valid.all()
    assert notes == ()
    assert opened.scenes[0].modality(OPTICAL).bands == LAYERS[OPTICAL]


def test_an_offset_that_was_left_in_is_taken_off_and_told():
    values = numbers(offset=1000)
    opened, notes = with_physical_layers(city(msi=msi(values)), [OPTICAL])
    np.testing.assert_allclose(read(opened)[0][0], values[1] * 1e-4 - 0.1, atol=1e-6)
    assert "0.1 is taken off" in notes[0]


def test_missing_bands_are_zero_and_told():
    values = numbers(count=4)
    opened, notes = with_physical_layers(city(msi=msi(values, BANDS[1:4] + BANDS[7:8])), [OPTICAL])
    layer = read(opened)[0]
    assert [bool(band.any()) for band in layer] == [True] * 3 + [False] * 3 + [True, False, False, False]
    assert "no band for B05, B06, B07, B8A, B11, B12" in notes[0]


def test_bands_of_a_spectrometer_are_averaged_over_a_band_s_width():
    centers = np.arange(400.0, 2500, 6.5)
    weights = layer_weights(LAYERS[OPTICAL], [Band(wavelength_nm=float(nm)) for nm in centers])
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    for row, band in zip(weights, LAYERS[OPTICAL], strict=True):
        assert row @ centers == pytest.approx(band.wavelength_nm, abs=6)
        assert (np.abs(centers[row > 0] - band.wavelength_nm) <= band.fwhm_nm / 2).all()


def test_backscatter_in_db_from_either_unit():
    values = radar()
    layers = [read(with_physical_layers(city(sar=sar(x)), [RADAR])[0], RADAR)[0] for x in (values, 10 ** (values / 10))]
    np.testing.assert_allclose(layers[0], values, atol=1e-4)
    np.testing.assert_allclose(layers[1], values, atol=1e-3)


def test_pixels_without_data_are_invalid_in_the_layer():
    values = numbers()
    values[:, 3, 4] = 0
    opened, _ = with_physical_layers(city(msi=msi(values, nodata_all_bands=0)), [OPTICAL])
    valid = read(opened)[1]
    assert not valid[3, 4]
    assert valid.sum() == SIDE * SIDE - 1


def test_values_of_unknown_unit_are_refused_in_one_line():
    gray = Modality(ArrayRaster(numbers().astype(np.uint8)), name="msi", bands=BANDS)
    with pytest.raises(DataError, match=r"msi of town: the network takes reflectance.*`scale:` and `offset:`") as error:
        with_physical_layers(city(msi=gray), [OPTICAL])
    assert "\n" not in str(error.value)


def test_a_city_without_such_bands_has_no_layer():
    unknown = city(msi=msi(numbers(), (Band(),) * 12))
    assert with_physical_layers(unknown, [OPTICAL, RADAR]) == (unknown, ())
    assert measured(["msi", OPTICAL, "sar", RADAR]) == ("msi", "sar")


def test_no_normalization_changes_a_layer():
    opened, _ = with_physical_layers(city(msi=msi(numbers())), [OPTICAL])
    for kind in ("per_city", "source", "minmax", "quantile"):
        statistics = city_statistics(opened, ("msi", OPTICAL), quantiles=kind == "quantile")
        layer, valid = read(opened)
        same = Normalizer.fit(kind, statistics).apply(OPTICAL, layer, valid)
        np.testing.assert_array_equal(same, layer)


def test_a_city_that_is_predicted_gets_the_layers_of_the_model():
    """Also where its own bands are then brought to those of the model."""
    values = numbers()
    wanted = {"msi": BANDS[1:4], OPTICAL: LAYERS[OPTICAL]}
    opened, notes = match_bands(city(msi=msi(values)), wanted)
    assert opened.scenes[0].modality("msi").count == 3
    np.testing.assert_allclose(read(opened)[0][8:], values[10:] * 1e-4, atol=1e-6)
    assert "matched to 3" in notes[-1]


def test_a_layer_is_told_apart_and_goes_to_other_processes():
    values = numbers()
    one, other = (with_physical_layers(city(msi=msi(values, scale=s)), [OPTICAL])[0] for s in (1e-4, 2e-4))
    sources = [x.scenes[0].modality(OPTICAL).source for x in (one, other)]
    assert sources[0].fingerprint() != sources[1].fingerprint()
    again = pickle.loads(pickle.dumps(sources[0]))
    np.testing.assert_array_equal(again.read(WHOLE), sources[0].read(WHOLE))
    assert replace(sources[0], weights=sources[0].weights * 0).fingerprint() != sources[0].fingerprint()


def test_real_places_in_physical_units(real_data):
    """Chile's numbers carry an offset of 1000, Denmark's do not; all ten bands and both polarizations are there."""
    for place, offset in (("chile", True), ("denmark", False)):
        folder = real_data / "s2s1-places" / place
        opened, notes = with_physical_layers(open_city(folder), [OPTICAL, RADAR])
        assert any("0.1 is taken off" in note for note in notes) == offset
        assert not any("no band" in note for note in notes)
        window = opened.scenes[0].grid.window
        layer, valid = opened.scenes[0].read(OPTICAL, window)
        dark, bright = np.quantile(layer[:, valid], (0.01, 0.99), axis=1)
        assert (dark < 0.1).any()
        assert (bright < 1).all()
        radar_layer = opened.scenes[0].read(RADAR, window)[0]
        assert -40 < np.median(radar_layer[1]) < np.median(radar_layer[0]) < 0
