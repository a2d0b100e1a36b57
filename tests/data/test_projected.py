from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from c2seg.data import LabeledCity, Normalizer, SceneReader, cached, city_statistics, open_city, write_folder
from c2seg.data.memory import city_bytes
from c2seg.data.projected import project_city
from c2seg.raster import ArrayRaster
from c2seg.types import Window

WINDOWS = [Window(-5, -5, 60, 40), Window(77, 31, 64, 64), Window(0, 0, 150, 130)]


@pytest.fixture(params=["per_city", "quantile"])
def normalizer(toy: LabeledCity, request: pytest.FixtureRequest) -> Normalizer:
    names = toy.images.modality_names
    statistics = city_statistics(toy.images, names, quantiles=request.param == "quantile")
    axes = np.random.default_rng(3).normal(size=(2, len(statistics["hsi"].mean))).astype(np.float32)
    return replace(Normalizer.fit(request.param, statistics), projection={"hsi": axes})


@pytest.mark.parametrize("storage", ["files", "memory", "cache"])
def test_patches_are_those_of_projection_each(
    toy: LabeledCity, normalizer: Normalizer, storage: str, tmp_path: Path
) -> None:
    write_folder(toy, tmp_path / "city")
    city = open_city(tmp_path / "city")
    names = city.modality_names
    image, left = project_city(city, normalizer)
    assert city_bytes(image) < city_bytes(city)
    if storage != "files":
        image = cached(image, tmp_path / "cache", 2**30 if storage == "memory" else 0)
    assert (tmp_path / "cache").exists() == (storage == "cache")
    before, after = SceneReader(city.scenes[0], names, normalizer), SceneReader(image.scenes[0], names, left)
    assert_alike(before, after)


def assert_alike(before: SceneReader, after: SceneReader) -> None:
    for window in WINDOWS:
        (patch, valid), (other, usable) = before(window), after(window)
        assert valid.any()
        np.testing.assert_array_equal(valid, usable)
        for name in before.inputs:
            np.testing.assert_allclose(patch[name], other[name], rtol=1e-4, atol=1e-4)
        assert other["hsi"].shape[0] == 2


def test_pixels_without_data_stay_so(toy: LabeledCity, normalizer: Normalizer) -> None:
    scene = toy.images.scenes[0]
    stack = scene.modality("hsi")
    bands = stack.source.read(Window(0, 0, stack.source.height, stack.source.width))
    holes = replace(stack, source=ArrayRaster(bands, nodata=float(bands[0, 20, 20])))
    city = replace(toy.images, scenes=(replace(scene, valid=None, modalities={**scene.modalities, "hsi": holes}),))
    image, left = project_city(city, normalizer)
    before, after = (SceneReader(each.scenes[0], ("hsi",), n) for each, n in ((city, normalizer), (image, left)))
    assert_alike(before, after)
    assert not after(WINDOWS[2])[1].all()


def test_what_is_kept_belongs_to_bands_and_projection(toy: LabeledCity, normalizer: Normalizer) -> None:
    image, _ = project_city(toy.images, normalizer)
    other, _ = project_city(toy.images, replace(normalizer, projection={"hsi": 2 * normalizer.projection["hsi"]}))
    again, _ = project_city(toy.images, normalizer)
    assert image.fingerprint() == again.fingerprint()
    assert len({toy.images.fingerprint(), image.fingerprint(), other.fingerprint()}) == 3


def test_nothing_to_mix_changes_nothing(toy: LabeledCity, normalizer: Normalizer) -> None:
    plain = replace(normalizer, projection={})
    image, left = project_city(toy.images, plain)
    assert image is toy.images
    assert left is plain
