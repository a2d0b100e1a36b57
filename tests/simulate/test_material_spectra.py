"""Spectra of materials and what sensors make of them."""

import sys

import numpy as np
import pytest

from c2seg.errors import InputError, MissingExtraError
from c2seg.simulate import FAMILIES, Parameters, family_of, spectra
from c2seg.simulate.sensors import OpticalSensor, band_axis, sun_elevation
from c2seg.simulate.specs import city_spec, package_data
from c2seg.simulate.spectra import VARIANTS, material_names, material_radar, material_reflectance
from c2seg.types import Window


def _spec(pair="ab", role="source", shift=0.0, seed=0, **parameters):
    return city_spec(pair, role, scale=0.1, seed=seed, parameters=Parameters.from_shift(shift, parameters))


def _of(table, name):
    start = material_names().index(name) * VARIANTS
    return table[start : start + VARIANTS]


def _at(nm):
    return int(np.argmin(np.abs(spectra.open_library().wavelengths_nm - nm)))


def test_spectra_look_like_what_they_are() -> None:
    table = material_reflectance(_spec(), 150)
    red, nir, swir = (table[:, _at(nm)] for nm in (670, 850, 1650))
    ndvi = (nir - red) / (nir + red)
    assert _of(ndvi, "meadow").mean() > 0.7
    assert abs(_of(ndvi, "asphalt").mean()) < 0.2
    assert _of(nir, "lake_water").mean() < 0.05 > _of(swir, "lake_water").mean()
    tile = _of(table, "roof_tile")
    assert tile[:, _at(670)].mean() > 1.5 * tile[:, _at(470)].mean()
    assert _of(nir, "conifer").mean() < _of(nir, "broadleaf").mean()
    assert table.min() > 0
    assert table.max() <= 1


def test_crops_follow_the_season_and_objects_keep_their_make() -> None:
    spec = _spec()
    spring, summer = material_reflectance(spec, 100), material_reflectance(spec, 215)
    nir = _at(850)
    assert _of(summer, "maize")[:, nir].mean() > 1.3 * _of(spring, "maize")[:, nir].mean()
    assert _of(summer, "winter_cereal")[:, nir].mean() < _of(spring, "winter_cereal")[:, nir].mean()
    np.testing.assert_array_equal(_of(summer, "asphalt"), _of(spring, "asphalt"))


def test_variants_are_many_spectra_not_one_with_noise() -> None:
    for name in ("roof_tile", "asphalt", "soil", "meadow", "lake_water"):
        values = _of(material_reflectance(_spec(), 150), name)
        shapes = values / np.linalg.norm(values, axis=1, keepdims=True)
        rank = np.linalg.svd(shapes - shapes.mean(0), compute_uv=False)
        assert (rank > 0.01 * np.linalg.norm(shapes)).sum() >= 2, name


def test_radar_of_full_leaf_is_brighter_than_bare() -> None:
    spec = _spec()
    assert (
        _of(material_radar(spec, 220).T, "maize")[:, 1].mean() > _of(material_radar(spec, 60).T, "maize")[:, 1].mean()
    )


@pytest.mark.parametrize(("sensor", "bands"), [("enmap", 242), ("gf5", 116), ("sentinel2", 4), ("gf6", 4)])
def test_band_axes(sensor: str, bands: int) -> None:
    centers, widths, _ = band_axis(sensor)
    assert len(centers) == len(widths) == bands
    assert centers.min() > 390
    assert centers.max() < 2460


def test_enmap_axis_steps_back_between_vnir_and_swir() -> None:
    centers, _, _ = band_axis("enmap")
    assert (np.flatnonzero(np.diff(centers) < 0) == [87]).all()


def test_published_statistics_fit_the_sensors() -> None:
    for pair, hsi in (("ab", "enmap"), ("bw", "gf5")):
        published = package_data("published.yaml")[pair]["hsi"]
        assert len(published["bands"]) == len(published["mean"]) == len(published["std"])
        assert max(published["bands"]) < len(band_axis(hsi)[0])


def test_gaps_are_straight_lines_and_nothing_is_nodata() -> None:
    sensor = OpticalSensor.make(_spec(), "hsi")
    values = np.zeros((242, 8, 8), np.float32) + sensor.table[0][:, None, None]
    numbers = sensor.digitize(values, Window(0, 0, 8, 8)).astype(float)
    for first, last in sensor.interpolated:
        assert abs(np.diff(numbers[first - 1 : last + 2], 2, axis=0)).max() <= 2  # rounding only
    assert numbers.min() >= 1
    dark = sensor.digitize(np.full((242, 8, 8), -0.1, np.float32), Window(0, 0, 8, 8))
    assert dark.min() == 1


def test_parameters_change_the_target_only() -> None:
    source, moved = _spec(shift=0), _spec(shift=1)
    np.testing.assert_array_equal(OpticalSensor.make(source, "msi").path, OpticalSensor.make(moved, "msi").path)
    for name in ("season", "illumination", "sensor_gain", "material_mix"):
        plain = OpticalSensor.make(_spec(role="target"), "hsi")
        shifted = OpticalSensor.make(_spec(role="target", **{name: 1.0}), "hsi")
        assert abs(plain.table - shifted.table).max() > 0.01, name


def test_winter_sun_is_low() -> None:
    assert sun_elevation(52.5, 355) < 15 < 40 < sun_elevation(52.5, 172) < 62


def test_families_follow_the_thousands_of_the_seed() -> None:
    assert [family_of(s) for s in (0, 999, 1000, 2500, 3999, 4000, 6000)] == [0, 0, 1, 2, 3, 4, 0]
    assert len(package_data("pairs.yaml")["families"]) == FAMILIES


@pytest.mark.parametrize(
    ("seed", "share"), [(0, 1.0), (1000, 0.0), (2000, 1.0), (3000, 0.0), (4000, None), (5000, None)]
)
def test_materials_of_some_families_change_all_one_way(seed: int, share: float | None) -> None:
    names = [name for name in material_names() if "water" not in name]
    tables = [material_reflectance(_spec(role=role, seed=seed, material_mix=1.0), 150) for role in ("source", "target")]
    source, target = (np.array([_of(table, name).mean() for name in names]) for table in tables)
    brighter = (target > source).mean()
    if share is None:
        assert 0.25 < brighter < 0.75
    else:
        assert abs(brighter - share) < 0.2


def test_parameters_are_checked() -> None:
    assert Parameters.from_shift(0.3, {"season": 1}).season == 1
    with pytest.raises(InputError, match="Did you mean 'season'"):
        Parameters.from_shift(0.3, {"saison": 1})
    with pytest.raises(InputError, match=r"within 0\.\.1"):
        Parameters.from_shift(1.5)
    with pytest.raises(InputError, match="parameter season"):
        Parameters.from_shift(0.5, {"season": float("nan")})


def test_without_earthlib_one_line_names_the_extra(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "earthlib", None)
    spectra.open_library.cache_clear()
    try:
        with pytest.raises(MissingExtraError, match=r"'\.\[simulate\]'"):
            spectra.open_library()
    finally:
        spectra.open_library.cache_clear()
