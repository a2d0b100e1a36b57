"""One sun, air and season for all bands of a patch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from affine import Affine

from c2seg.data import BandStatistics, Normalizer, SceneReader
from c2seg.data.city import Band, Modality, Scene
from c2seg.raster import ArrayRaster
from c2seg.recipes.training import Augmentation, LightChange, Sampling
from c2seg.sampling import BandUnits, Light, PatchSampler, TrainingScene, changed_light, draw_light, optics_of
from c2seg.types import Grid

CENTERS = (490.0, 560.0, 665.0, 840.0, 1610.0)
WINDOW = Grid(40, 40, Affine(10, 0, 0, 0, -10, 0), None).window
VALID = np.ones((40, 40), bool)


BANDS = tuple(Band(wavelength_nm=nm) for nm in CENTERS)


def made_scene(scale=1e-4, bands=BANDS):
    """A scene of five bands: bare soil in its left half, green plants in its right one."""
    values = np.empty((5, 40, 40))
    values[:, :, :20] = np.array([0.08, 0.11, 0.15, 0.20, 0.28])[:, None, None]
    values[:, :, 20:] = np.array([0.03, 0.06, 0.04, 0.40, 0.18])[:, None, None]
    values += np.random.default_rng(0).uniform(0, 0.01, values.shape)
    raster = ArrayRaster(np.rint(values * 1e4).astype(np.uint16))
    stack = Modality(raster, name="msi", bands=bands, scale=scale)
    return Scene("toy", Grid(40, 40, Affine(10, 0, 0, 0, -10, 0), None), {"msi": stack})


def normalizer_of(scene):
    values = scene.read("msi", WINDOW)[0].reshape(5, -1)
    return Normalizer.fit("source", {"msi": BandStatistics.of(values, np.ones(values.shape[1], np.int64))})


def reflectance_after(scene, light):
    """The scene's reflectance [C, H, W] after a change of its normalized values."""
    normalizer = normalizer_of(scene)
    optics = optics_of(scene, normalizer)
    patch = {"msi": normalizer.apply("msi", scene.read("msi", WINDOW)[0], VALID)}
    changed = changed_light(patch, VALID, optics, light)["msi"]
    return changed * optics["msi"].width[:, None, None] + optics["msi"].level[:, None, None]


@pytest.mark.parametrize("scale", [1e-4, 1.0])
def test_the_sun_changes_all_bands_by_one_factor(scale):
    scene = made_scene(scale)
    before = scene.read("msi", WINDOW)[0] * (1e-4 / scale)
    np.testing.assert_allclose(reflectance_after(scene, Light(gain=1.3)), 1.3 * before, atol=1e-5)


def test_haze_falls_with_the_wavelength_and_spares_white():
    scene = made_scene()
    before = scene.read("msi", WINDOW)[0]
    path = 0.1 * (np.array(CENTERS) / 490) ** -2.0
    expected = before * (1 - path[:, None, None]) + path[:, None, None]
    np.testing.assert_allclose(reflectance_after(scene, Light(haze=0.1, exponent=2.0)), expected, atol=1e-5)


def test_the_season_changes_plants_and_hardly_soil():
    scene = made_scene()
    ratio = reflectance_after(scene, Light(season=0.4)) / scene.read("msi", WINDOW)[0]
    soil, plants = ratio[:, :, :20].mean(axis=(1, 2)), ratio[:, :, 20:].mean(axis=(1, 2))
    assert (plants[:3] > 1.25).all()
    assert plants[3] < 0.87
    assert plants[4] > 1.1
    assert (np.abs(soil - 1) < 0.07).all()


def test_an_offset_is_added_and_nothing_drawn_changes_nothing():
    scene = made_scene()
    before = scene.read("msi", WINDOW)[0]
    np.testing.assert_allclose(reflectance_after(scene, Light(offset=0.1)), before + 0.1, atol=1e-5)
    still = draw_light(LightChange(sun_std=0, haze=0, offset=0, season_std=0), np.random.default_rng(0))
    np.testing.assert_allclose(reflectance_after(scene, still), before, atol=1e-5)


def test_bands_without_wavelength_or_reflectance_do_not_change():
    unknown = made_scene(bands=(Band(),) * 5)
    assert optics_of(unknown, normalizer_of(unknown)) == {}
    by_role = made_scene(
        bands=(*(Band(role=role) for role in ("blue", "green", "red", "nir")), Band(wavelength_nm=1610))
    )
    assert optics_of(by_role, normalizer_of(by_role))["msi"].center_nm.tolist() == [490, 560, 665, 840, 1610]
    bright = made_scene(scale=1e-3)
    assert optics_of(bright, normalizer_of(bright)) == {}
    projected = replace(normalizer_of(by_role), projection={"msi": np.eye(5, dtype=np.float32)})
    assert optics_of(by_role, projected) == {}


def test_light_that_changes_nothing_is_told(caplog):
    scene = made_scene(bands=(Band(),) * 5)
    units = BandUnits({"msi": np.zeros(5, np.float32)}, {"msi": np.ones(5, np.float32)})
    training = TrainingScene(SceneReader(scene, ("msi",), normalizer_of(scene)), units, VALID)
    PatchSampler([training], Sampling(patch_px=16, batch_size=1), Augmentation(light=LightChange()), 0, 2)
    assert "light changes nothing" in caplog.text


def test_patches_are_functions_of_seed_and_step():
    scene = made_scene()
    normalizer = normalizer_of(scene)
    units = BandUnits({"msi": np.zeros(5, np.float32)}, {"msi": np.ones(5, np.float32)})
    valid = VALID.copy()
    valid[:5] = False

    def patches(light, seed=3):
        training = TrainingScene(SceneReader(scene, ("msi",), normalizer), units, valid)
        sampler = PatchSampler([training], Sampling(patch_px=16, batch_size=4), Augmentation(light=light), seed, 2)
        return sampler.load(sampler.draw(7)).patch["msi"]

    changed = patches(LightChange())
    np.testing.assert_array_equal(changed, patches(LightChange()))
    assert not np.array_equal(changed, patches(LightChange(), seed=4))
    assert not np.allclose(changed, patches(None))
