from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from c2seg.data import Normalizer, PreparedCity, SceneReader, city_statistics, open_city
from c2seg.data.layouts import open_labeled_city
from c2seg.errors import ModelFileError, TrainingError
from c2seg.forest import FeatureSpec, Forest, features, fit_forest, halo_px
from c2seg.forest.features import augment_radiometry, fit_projections
from c2seg.forest.fit import SourcePixels, grow, validate_forest
from c2seg.forest.table import FeatureTable
from c2seg.recipes.models import ForestModel
from c2seg.types import Window

SPEC = FeatureSpec((3, 5), (7,), {})


def direct(bands: np.ndarray, valid: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """Compute the features pixel by pixel."""
    channels, height, width = bands.shape
    out = []
    for size, kind in [(s, "mean") for s in spec.mean_px] + [(s, "std") for s in spec.std_px]:
        for c in range(channels):
            plane = np.zeros((height, width))
            for i in range(height):
                for j in range(width):
                    rows = slice(max(0, i - size // 2), i + size // 2 + 1)
                    cols = slice(max(0, j - size // 2), j + size // 2 + 1)
                    found = bands[c, rows, cols][valid[rows, cols]].astype(np.float64)
                    if found.size:
                        plane[i, j] = found.mean() if kind == "mean" else found.std()
            out.append(plane)
    return np.concatenate([bands, np.stack(out)])


def test_features_equal_the_direct_computation():
    rng = np.random.default_rng(0)
    halo = halo_px(SPEC)
    assert halo == 3
    valid = rng.random((16, 18)) < 0.8
    bands = (rng.standard_normal((2, 16, 18)) * valid).astype(np.float32)
    found = features({"a": bands[:1], "b": bands[1:]}, valid, SPEC, ("a", "b"))
    inner = (slice(None), slice(halo, -halo), slice(halo, -halo))
    expected = direct(bands, valid, SPEC)[inner]
    usable = valid[halo:-halo, halo:-halo]
    np.testing.assert_allclose(found[:, usable], expected[:, usable], atol=1e-5)


def test_features_by_window_equal_those_of_the_whole(make_city):
    city = open_city(make_city(hsi_ratio=3, valid=True))
    names = city.modality_names
    reader = SceneReader(city.scenes[0], names, Normalizer.fit("per_city", city_statistics(city, names)))
    halo = halo_px(SPEC)
    whole = features(*reader(city.scenes[0].grid.window.expand(halo)), SPEC, names)
    part = Window(11, 20, 30, 25)
    found = features(*reader(part.expand(halo)), SPEC, names)
    np.testing.assert_allclose(found, whole[:, part.row : part.row_end, part.col : part.col_end], atol=1e-5)


def test_copies_have_the_features_of_a_city_with_other_gains_and_offsets():
    """Against the features of such an image; center 0 and spread 1 as in a standardized city."""
    rng = np.random.default_rng(0)
    bands = rng.standard_normal((2, 40, 40)).astype(np.float32)
    valid = np.ones((40, 40), bool)
    samples = features({"a": bands}, valid, SPEC, ("a",)).reshape(8, -1).T
    found = augment_radiometry(samples, SPEC, 2, 0.3, 0.5, seed=1)
    n = len(samples)
    assert found.shape == (3 * n, 8)
    np.testing.assert_array_equal(found[:n], samples)
    center, spread = samples[:, :2].mean(axis=0), samples[:, :2].std(axis=0)
    for row in (n, 2 * n + 17):
        pixel = row % n
        gain = found[row, 6:] / samples[pixel, 6:]
        offset = (found[row, :2] - center) - (samples[pixel, :2] - center) * gain
        changed = (bands - center[:, None, None]) * gain[:, None, None] + (center + offset)[:, None, None]
        expected = features({"a": changed}, valid, SPEC, ("a",)).reshape(8, -1).T[pixel]
        np.testing.assert_allclose(found[row], expected, atol=1e-4)
    gains = found[n:, 6:] / np.tile(samples[:, 6:], (2, 1))
    np.testing.assert_allclose(gains.mean(axis=0), 1.0, atol=0.03)
    np.testing.assert_allclose(gains.std(axis=0), 0.3, atol=0.03)
    offsets = found[n:, :2] - center - (np.tile(samples[:, :2], (2, 1)) - center) * gains
    np.testing.assert_allclose(offsets.std(axis=0), 0.5 * spread, atol=0.03)


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    samples = rng.standard_normal((400, 5)).astype(np.float32)
    targets = np.array([0, 2, 3])[(samples[:, 0] > 0).astype(int) + (samples[:, 1] > 0.5)]
    return RandomForestClassifier(7, random_state=0).fit(samples, targets), samples


def test_trees_survive_storage_without_pickle(fitted):
    estimator, samples = fitted
    forest = Forest.of(estimator)
    expected = np.zeros((400, 4))
    expected[:, [0, 2, 3]] = estimator.predict_proba(samples)
    np.testing.assert_allclose(forest.predict(samples, 4), expected, atol=1e-6)
    stored = Forest.from_tensors(forest.tensors(), 5, 4)
    np.testing.assert_allclose(stored.predict(samples, 4), expected, atol=1e-6)
    again = Forest.from_tensors(stored.tensors(), 5, 4)
    np.testing.assert_array_equal(again.predict(samples, 4), stored.predict(samples, 4))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("left", 10**6),
        ("right", -7),
        ("feature", 5),
        ("feature", -9),
        ("classes", 4),
        ("node_count", -1),
        ("value", np.nan),
    ],
)
def test_damaged_trees_are_refused(fitted, name, value):
    tensors = {k: v.copy() for k, v in Forest.of(fitted[0]).tensors().items()}
    tensors[name].flat[0] = value
    with pytest.raises(ModelFileError, match="damaged"):
        Forest.from_tensors(tensors, 5, 4)


def test_missing_arrays_are_named(fitted):
    tensors = Forest.of(fitted[0]).tensors()
    del tensors["threshold"]
    with pytest.raises(ModelFileError, match="threshold"):
        Forest.from_tensors(tensors, 5, 4)


def source_of(path) -> PreparedCity:
    city = open_labeled_city(path)
    names = city.images.modality_names
    statistics = city_statistics(city.images, names)
    return PreparedCity(city, statistics, Normalizer.fit("per_city", statistics))


def test_one_class_cannot_be_learnt(make_city):
    path = make_city()
    import rasterio

    with rasterio.open(path / "label.tif", "r+") as dataset:
        dataset.write(np.full((1, 70, 91), 3, np.uint8))
    with pytest.raises(TrainingError, match="1 class has"):
        fit_forest([source_of(path)], ForestModel(trees=2), FeatureTable(("msi",), SPEC), 0)


def test_folds_share_features_and_what_is_not_remembered_changes_nothing(make_city, monkeypatch):
    from c2seg.data.folds import BlockFolds
    from c2seg.forest import table as table_module

    source = source_of(make_city())
    folded = replace(source, city=replace(source.city, folds=(BlockFolds(3, 16, 2),)))
    computed = []
    real = table_module.features
    monkeypatch.setattr(table_module, "features", lambda *args: computed.append(1) or real(*args))

    def trained(most_bytes):
        computed.clear()
        names, model = ("msi",), ForestModel(trees=3)
        table = FeatureTable(names, SPEC, most_bytes)
        pooled = validate_forest([folded], model, table, 0)
        return pooled.counts, fit_forest([source], model, table, 0).tensors(), len(computed)

    (counts, tensors, once), (again, others, often) = trained(1 << 30), trained(0)
    assert (once, often) == (1, 7)  # one block; three folds are trained and tested, and one forest on all
    np.testing.assert_array_equal(counts, again)
    assert counts.sum()
    for name, values in tensors.items():
        np.testing.assert_array_equal(values, others[name])


def test_many_bands_are_projected_on_components_of_the_source(make_city):
    city = open_city(make_city(seed=3))
    names = ("msi", "hsi")
    normalizer = Normalizer.fit("source", city_statistics(city, names))
    found = fit_projections([(city, normalizer)], names, ForestModel(max_bands=5))
    assert set(found) == {"hsi"}
    assert found["hsi"].shape == (5, 6)
    np.testing.assert_allclose(found["hsi"] @ found["hsi"].T, np.eye(5), atol=1e-5)
    pixels = SceneReader(city.scenes[0], ["hsi"], normalizer)(city.scenes[0].grid.window)[0]["hsi"].reshape(6, -1)
    spread = (found["hsi"] @ pixels).std(axis=1)
    assert (np.diff(spread) <= 1e-6).all()


def test_a_forest_is_the_same_with_progress_which_follows_its_trees():
    rng = np.random.default_rng(0)
    drawn = SourcePixels(rng.normal(size=(300, 4)).astype(np.float32), rng.integers(0, 3, 300).astype(np.uint8))
    model, seen = ForestModel(trees=20, min_leaf_px=1), []
    shown = grow(drawn, model, 3, progress=lambda done, total, text="": seen.append((done, total)))
    assert seen == [(8, 20), (16, 20), (20, 20)]
    plain = grow(drawn, model, 3).tensors()
    assert all(np.array_equal(plain[name], value) for name, value in shown.tensors().items())
