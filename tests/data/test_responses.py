"""Bands are computed from another sensor's by their responses."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import yaml

from c2seg.artifacts import Header
from c2seg.data import Band, open_city
from c2seg.data.responses import response_weights
from c2seg.data.spectral import band_weights, match_bands
from c2seg.errors import DataError
from c2seg.types import Window
from helpers.rasters import write_raster

NM = np.arange(350.0, 2600.0)
ENMAP = np.concatenate([np.arange(420, 900, 6.0), np.arange(905, 2440, 10.0)])
ENMAP_WIDTHS = np.where(ENMAP < 900, 7.0, 10.0)
SENTINEL2 = np.array([443, 492, 560, 665, 704, 740, 783, 833, 865, 1614, 2202.0])
SENTINEL2_WIDTHS = np.array([21, 66, 36, 31, 15, 15, 20, 106, 21, 91, 175.0])


def seen(spectra, centers, widths):
    """Values of Gaussian bands: the definition, on a grid of 1 nm."""
    response = np.exp(-4 * np.log(2) * ((NM - centers[:, None]) / widths[:, None]) ** 2)
    return spectra @ (response / response.sum(axis=1, keepdims=True)).T


def spectra(count=40, seed=0):
    """Smooth spectra with a red edge and absorption bands of 25 to 60 nm."""
    rng = np.random.default_rng(seed)
    edge = rng.uniform(0.05, 0.4, (count, 1)) / (1 + np.exp(-(NM - 715) / 18))
    dips = sum(
        rng.uniform(0, 0.12, (count, 1)) * np.exp(-0.5 * ((NM - center) / sigma) ** 2)
        for center, sigma in ((670, 20), (1200, 25), (1730, 30), (2100, 25), (2210, 12), (2330, 14))
    )
    return 0.1 + edge + 0.1 * (NM - 350) / 2000 - dips + rng.uniform(0, 0.2, (count, 1))


def linear(centers, others):
    return np.stack([np.interp(centers, others, unit) for unit in np.eye(len(others))], axis=1)


@pytest.mark.parametrize("case", ["wide from narrow", "narrow from wide", "equal"])
def test_values_are_nearer_to_those_of_the_responses_than_linear_interpolation_is(case):
    prisma = np.concatenate([np.arange(420, 940, 8.5), np.arange(945, 2430, 9.0)])
    widths = np.full(len(prisma), 12.0)
    target, source = {
        "wide from narrow": ((SENTINEL2, SENTINEL2_WIDTHS), (ENMAP, ENMAP_WIDTHS)),
        "narrow from wide": ((ENMAP[1:-1], ENMAP_WIDTHS[1:-1]), (prisma, widths)),
        "equal": ((prisma[1:-1], widths[1:-1]), (ENMAP, ENMAP_WIDTHS)),
    }[case]
    reference, values = seen(spectra(), *target), seen(spectra(), *source)
    weights = response_weights(*target, *source).weights
    error = np.abs(values @ weights.T - reference)
    plain = np.abs(values @ linear(target[0], source[0]).T - reference)
    assert error.max() < 0.002
    assert error.mean() < 0.5 * plain.mean()


def test_rows_sum_to_one_in_any_order_and_equal_sensors_are_nearly_copied():
    result = response_weights(SENTINEL2, SENTINEL2_WIDTHS, ENMAP, ENMAP_WIDTHS)
    np.testing.assert_allclose(result.weights.sum(axis=1), 1, atol=1e-6)
    assert (result.coverage > 0.95).all()
    turned = response_weights(SENTINEL2, SENTINEL2_WIDTHS, ENMAP[::-1], ENMAP_WIDTHS[::-1])
    np.testing.assert_allclose(turned.weights[:, ::-1], result.weights, atol=1e-6)
    values = seen(spectra(), ENMAP, ENMAP_WIDTHS)
    same = values @ response_weights(ENMAP, ENMAP_WIDTHS, ENMAP, ENMAP_WIDTHS).weights.T
    assert np.abs(same - values).max() < 1e-3
    constant = np.full(len(ENMAP), 0.3) @ result.weights.T
    np.testing.assert_allclose(constant, 0.3, atol=1e-6)


def test_distant_bands_have_no_weight_and_a_gap_is_bridged_linearly():
    keep = (ENMAP < 1340) | (ENMAP > 1460)
    result = response_weights(np.array([600, 1400.0]), np.array([10.0, 10]), ENMAP[keep], ENMAP_WIDTHS[keep])
    assert np.flatnonzero(result.weights[0]).size < 15
    assert list(result.in_gaps) == [1]
    assert result.coverage[1] == 0
    used = ENMAP[keep][result.weights[1] > 0]
    assert len(used) == 2
    assert used[0] < 1340
    assert used[1] > 1460


def sensor(centers, widths):
    return [Band(wavelength_nm=float(c), fwhm_nm=float(w)) for c, w in zip(centers, widths, strict=True)]


def test_responses_count_only_where_both_sides_have_widths():
    wide, narrow = sensor(SENTINEL2, SENTINEL2_WIDTHS), sensor(ENMAP, ENMAP_WIDTHS)
    assert band_weights(wide, narrow)[1] == "by band responses"
    bare = [Band(wavelength_nm=band.wavelength_nm) for band in narrow]
    weights, how = band_weights(wide, bare)
    assert how == "by wavelength"
    np.testing.assert_allclose(weights, linear(SENTINEL2, ENMAP), atol=1e-6)
    gapped = [band for band in narrow if not 1340 < band.wavelength_nm < 1460]
    how = band_weights(sensor([1400.0, 800.0], [10.0, 10.0]), gapped)[1]
    assert how == "by band responses (1 in gaps of the sensor are interpolated: 1400 nm)"
    assert band_weights(wide, narrow[:70]) is None  # ends at 834 nm


def test_a_city_with_widths_is_resampled_by_them(tmp_path):
    cube = seen(spectra(30), ENMAP, ENMAP_WIDTHS).T.reshape(-1, 5, 6).astype(np.float32)
    write_raster(tmp_path / "a" / "hsi.tif", cube)
    entry = {"file": "hsi.tif", "wavelengths_nm": ENMAP.tolist(), "fwhm_nm": ENMAP_WIDTHS.tolist()}
    (tmp_path / "a" / "city.yaml").write_text(yaml.safe_dump({"modalities": {"hsi": entry}}))
    city, notes = match_bands(open_city(tmp_path / "a"), {"hsi": sensor(SENTINEL2, SENTINEL2_WIDTHS)})
    assert notes == (f"hsi of a: {len(ENMAP)} bands matched to 11 by band responses",)
    values, valid = city.scenes[0].read("hsi", Window(0, 0, 5, 6))
    assert valid.all()
    reference = seen(spectra(30), SENTINEL2, SENTINEL2_WIDTHS).T.reshape(-1, 5, 6)
    np.testing.assert_allclose(values, reference, atol=1e-3)


def test_widths_of_city_yaml_are_checked(tmp_path):
    write_raster(tmp_path / "a" / "hsi.tif", np.ones((2, 4, 4), np.float32))
    place = tmp_path / "a" / "city.yaml"
    bands = [{"wavelength_nm": 500, "fwhm_nm": 10}, {"wavelength_nm": 600, "fwhm_nm": -1}]
    place.write_text(yaml.safe_dump({"modalities": {"hsi": {"file": "hsi.tif", "bands": bands}}}))
    with pytest.raises(DataError, match="fwhm_nm must be positive, found -1"):
        open_city(tmp_path / "a")
    place.write_text(yaml.safe_dump({"modalities": {"hsi": {"file": "hsi.tif", "fwhm_nm": [3.0]}}}))
    with pytest.raises(DataError, match=r"has 2 bands, city\.yaml gives 1 fwhm_nm"):
        open_city(tmp_path / "a")


def test_bands_of_older_model_files_have_no_width():
    field = Header.model_fields["inputs"]
    from pydantic import TypeAdapter

    bands = TypeAdapter(field.annotation).validate_python(
        {"hsi": [{"name": "a", "role": None, "wavelength_nm": 500.0}]}
    )
    assert bands["hsi"] == (Band("a", None, 500.0, None),)


def test_a_real_scene_becomes_sentinel2_nearer_to_its_convolution_than_by_interpolation(real_data):
    """The second raster was convolved with Gaussians by others."""
    centers = np.array([492, 560, 665, 741, 783, 833, 1614.0])
    widths = np.array([66, 36, 31, 15, 20, 106, 91.0])
    nm = np.loadtxt(real_data / "enmap-potsdam" / "wavelengths_nm.txt")
    with rasterio.open(real_data / "enmap-potsdam" / "enmap_potsdam_crop.tif") as dataset:
        cube = dataset.read()
    with rasterio.open(real_data / "potsdam-leipzig" / "potsdam" / "msi.tif") as dataset:
        convolved = dataset.read()
    valid = (cube[0] != -32768) & (convolved[0] > 0)
    used = np.flatnonzero((cube[:, valid] != -32768).all(axis=1))
    values, reference = cube[used][:, valid] / 1e4, convolved[:, valid] / 1e4
    weights = response_weights(centers, widths, nm[used], np.where(used < 91, 8.1, 12.5)).weights
    order = np.argsort(nm[used])
    plain = linear(centers, nm[used][order]) @ values[order]
    error, before = (np.sqrt(np.mean((computed - reference) ** 2, axis=1)) for computed in (weights @ values, plain))
    assert error.max() < 0.001
    assert (error < before / 2).all()
