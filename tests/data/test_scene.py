from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from c2seg.data.city import City, Label, LabeledCity, Modality, Scene
from c2seg.errors import DataError
from c2seg.raster import ArrayRaster, GridRelation
from c2seg.types import Window


def test_a_patch_that_leaves_the_scene_is_invalid_outside(toy: LabeledCity) -> None:
    scene = toy.images.scenes[0]
    for name in scene.modalities:
        whole, usable = scene.read(name, scene.grid.window)
        values, valid = scene.read(name, Window(-7, -5, 170, 150))
        assert values.shape == (scene.modality(name).count, 170, 150)
        assert np.array_equal(valid[7:157, 5:135], usable)
        assert not valid[:7].any()
        assert not valid[:, 135:].any()
        assert np.array_equal(values[:, 7:157, 5:135][:, usable], whole[:, usable])


@pytest.mark.parametrize("offset", [(-2, -1), (0, 0), (-3, 1)])
def test_a_coarse_modality_is_spread_by_nearest_neighbor(toy: LabeledCity, offset: tuple[int, int]) -> None:
    array = np.arange(2 * 60 * 60, dtype=np.uint16).reshape(2, 60, 60)
    stack = Modality(ArrayRaster(array), GridRelation(3, *offset), "", "hsi")
    scene = replace(toy.images.scenes[0], modalities={"hsi": stack}, valid=None)
    window = Window(17, 23, 40, 31)
    values, valid = scene.read("hsi", window)
    rows = (np.arange(17, 57) - offset[0]) // 3
    cols = (np.arange(23, 54) - offset[1]) // 3
    assert np.array_equal(values, array[:, rows[:, None], cols])
    assert valid.all()


def test_native_weights_sum_to_the_valid_fine_pixels(toy: LabeledCity) -> None:
    scene = toy.images.scenes[0]
    values, weights = scene.read_native("hsi", Window(0, 0, 50, 44))
    fine, valid = scene.read("hsi", scene.grid.window)
    assert weights.sum() == valid.sum()
    np.testing.assert_allclose(
        (values * weights).sum(axis=(1, 2)), fine[:, valid].sum(axis=1, dtype=np.float64), rtol=1e-6
    )


def test_scale_nodata_and_blank() -> None:
    array = np.array([[[0, 0, 5], [9, 1, 2]], [[0, 3, 5], [9, 9, 2]]], np.int16)
    scene = Scene("s", make_grid(2, 3), {"a": Modality(ArrayRaster(array, 9), name="a", scale=0.5, nodata_all_bands=0)})
    values, valid = scene.read("a", Window(0, 0, 2, 3))
    assert np.array_equal(values, array * 0.5)
    # blank only where both bands are 0, nodata where any band is 9
    assert np.array_equal(valid, [[False, True, True], [False, False, True]])


def make_grid(height: int, width: int):
    from affine import Affine

    from c2seg.types import Grid

    return Grid(height, width, Affine(10, 0, 0, 0, -10, 0))


def label_of(toy: LabeledCity, values: np.ndarray, label_map: str = "challenge") -> LabeledCity:
    return LabeledCity(toy.images, (Label(ArrayRaster(values[None]), GridRelation(), "reference.tif", label_map),))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64])
def test_labels_of_any_type_give_the_same_ids(toy: LabeledCity, dtype: type) -> None:
    stored = toy.labels[0].source.read(Window(0, 0, 150, 130))[0]
    city = label_of(toy, stored.astype(dtype))
    ids = city.read_label(0, Window(-3, -2, 160, 140))
    assert ids.dtype == np.uint8
    assert np.array_equal(ids[3:153, 2:132], stored)
    assert (ids[:3] == 0).all()


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [(14, np.uint8, r"values \[14\] are not in label mapping"), (-1, np.int16, r"\[-1\]"), (2.5, np.float32, "integers")],
)  # fmt: skip
def test_wrong_label_values_are_named(toy: LabeledCity, value: float, dtype: type, message: str) -> None:
    values = np.ones((150, 130), dtype)
    values[70, 60] = value
    with pytest.raises(DataError, match=message) as caught:
        label_of(toy, values).read_label(0, Window(60, 50, 20, 20))
    assert "reference.tif" in str(caught.value)


def test_255_is_ignore_and_kept(toy: LabeledCity) -> None:
    values = np.full((150, 130), 255, np.uint8)
    assert (label_of(toy, values).read_label(0, Window(0, 0, 5, 5)) == 255).all()
    with pytest.raises(DataError, match="no pixel of any class"):
        label_of(toy, values).check_classes()


def test_city_fingerprint_follows_pixels_and_not_labels(toy: LabeledCity) -> None:
    city: City = toy.images
    scene = city.scenes[0]
    array = scene.modality("msi").source.read(scene.grid.window).copy()
    array[0, 0, 0] += 1
    changed = replace(scene.modality("msi"), source=ArrayRaster(array))
    other = replace(city, scenes=(replace(scene, modalities={**scene.modalities, "msi": changed}),))
    assert city.fingerprint() == replace(city, notes=("x",)).fingerprint()
    assert city.fingerprint() != other.fingerprint()


def test_unknown_modality_lists_the_others(toy: LabeledCity) -> None:
    with pytest.raises(DataError, match="Did you mean 'msi'"):
        toy.images.scenes[0].modality("mis")
