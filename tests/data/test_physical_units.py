"""Normalizations that compare cities in physical units: a left-in offset and plain numbers change nothing."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine

from c2seg.data import BandStatistics, Normalizer, open_city, open_labeled_city
from c2seg.data.preparation import prepare_cities
from c2seg.data.units import in_physical_units
from c2seg.progress import no_progress

SIZE = 48
BANDS = "[{role: blue}, {role: green}, {role: red}, {role: nir}]"


def field(seed):
    """Reflectance [4, H, W] of two kinds of cover, and ids of these."""
    rng = np.random.default_rng(seed)
    cover = np.kron(rng.integers(0, 2, (6, 6)), np.ones((8, 8), int))
    means = np.array([[0.03, 0.05, 0.03, 0.35], [0.12, 0.14, 0.16, 0.22]])[cover].transpose(2, 0, 1)
    return np.clip(means + rng.normal(0, 0.01, means.shape), 0.011, None), np.where(cover == 0, 9, 3).astype(np.uint8)


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a city: reflectance x 10000 plus an offset."""

    def make(name, seed, *, offset=0, yaml="scale: 0.0001", labels=False):
        folder = tmp_path / name
        folder.mkdir()
        reflectance, ids = field(seed)
        profile = {
            "driver": "GTiff", "height": SIZE, "width": SIZE, "crs": "EPSG:32633", "transform": Affine(10, 0, 0, 0, -10, 0),
        }  # fmt: skip
        with rasterio.open(folder / "msi.tif", "w", count=4, dtype="uint16", **profile) as dataset:
            dataset.write(np.rint(reflectance * 1e4 + offset).astype(np.uint16))
        if labels:
            with rasterio.open(folder / "label.tif", "w", count=1, dtype="uint8", **profile) as dataset:
                dataset.write(ids[None])
        (folder / "city.yaml").write_text(f"modalities: {{msi: {{file: msi.tif, bands: {BANDS}, {yaml}}}}}")
        return folder

    return make


def test_scale_and_offset_are_brought_to_reflectance(write):
    city, notes = in_physical_units(open_city(write("new", 0, offset=1000, yaml="")))
    values, _ = city.scenes[0].read("msi", city.scenes[0].grid.window)
    np.testing.assert_allclose(values, field(0)[0], atol=6e-5)
    assert notes == ("msi of new: read as reflectance = value x 0.0001 -0.1",)
    clean = open_city(write("clean", 0))
    assert in_physical_units(clean) == (clean, ())


@pytest.mark.parametrize("kind", ["physical", "midway"])
@pytest.mark.parametrize(("offset", "yaml"), [(1000, "scale: 0.0001"), (1000, ""), (0, "")])
def test_how_a_city_is_stored_changes_nothing(write, kind, offset, yaml):
    source = open_labeled_city(write("source", 0, labels=True))
    inputs = {"msi": source.images.scenes[0].modality("msi").bands}
    patches = []
    for target in (open_city(write("clean", 1)), open_city(write("stored", 1, offset=offset, yaml=yaml))):
        made = prepare_cities([source], target, inputs, kind, None, no_progress)
        [reader] = made.target.readers(("msi",))
        patches.append(reader(target.scenes[0].grid.window)[0]["msi"])
    np.testing.assert_allclose(patches[1], patches[0], atol=3e-3)
    assert any("read as reflectance" in note for note in made.notes)
    assert made.units["msi"].unit == "reflectance"


def test_midway_is_the_mean_of_both(write):
    rng = np.random.default_rng(0)
    own, sources = (
        {"msi": BandStatistics.of(rng.normal(m, s, (3, 500)), np.ones(500, np.int64))}
        for m, s in ((0.2, 0.2), (0.5, 0.1))
    )
    values, valid = rng.normal(0.3, 0.1, (3, 5, 5)).astype(np.float32), np.ones((5, 5), bool)
    kinds = [
        Normalizer.of_city(kind, own, sources).apply("msi", values, valid) for kind in ("per_city", "source", "midway")
    ]
    np.testing.assert_allclose(kinds[2], (kinds[0] + kinds[1]) / 2, atol=1e-5)
    flat = {"msi": BandStatistics(9, np.ones(3), np.zeros(3), np.ones(3), np.ones(3))}
    assert not Normalizer.of_city("midway", flat, flat).apply("msi", values, valid).any()


@pytest.mark.parametrize("unknown", ["source", "target"])
def test_midway_compares_no_unknown_units(write, unknown):
    """What is in percent would be a hundred times as bright as what is in reflectance."""
    yaml = dict.fromkeys(("source", "target"), "scale: 0.0001") | {unknown: "scale: 0.01"}
    source = open_labeled_city(write("source", 0, yaml=yaml["source"], labels=True))
    target = open_city(write("target", 1, yaml=yaml["target"]))
    inputs = {"msi": source.images.scenes[0].modality("msi").bands}
    patches = []
    for kind in ("midway", "per_city"):
        made = prepare_cities([source], target, inputs, kind, None, no_progress)
        [reader] = made.target.readers(("msi",))
        patches.append(reader(target.scenes[0].grid.window)[0]["msi"])
        assert any("msi of target: unit not known" in note for note in made.notes) == (kind == "midway")
    np.testing.assert_array_equal(*patches)


def test_a_model_compares_no_unknown_units(write, write_recipe, tmp_path):
    import c2seg

    recipe = write_recipe({"name": "small", "normalization": "midway", "model": {"name": "forest", "trees": 10}})
    c2seg.fit(recipe, source=write("source", 0, labels=True), target=write("clean", 1), out=tmp_path / "run")
    model = c2seg.load_model(tmp_path / "run")
    [record] = model.predict(write("percent", 1, yaml="scale: 0.01"), tmp_path / "map.tif").maps
    assert any("msi of percent: unit not known" in note for note in record.run.bands)
    with rasterio.open(tmp_path / "map.tif") as dataset:
        assert (dataset.read(1) == field(1)[1]).mean() > 0.95


def test_a_model_reads_cities_as_it_was_trained(write, write_recipe, tmp_path):
    """A map of a city with an offset left in is that of the same city without."""
    import c2seg

    recipe = write_recipe(
        {
            "name": "small",
            "normalization": "midway",
            "model": {"name": "forest", "trees": 10},
            "prediction": {"overlap_px": 0},
        }
    )
    cities = {"source": write("source", 0, labels=True), "target": write("stored", 1, offset=1000)}
    c2seg.fit(recipe, **cities, out=tmp_path / "run")
    model = c2seg.load_model(tmp_path / "run")
    assert model.header.in_physical_units
    assert model.header.units["msi"].unit == "reflectance"
    maps = []
    for name in ("stored", "clean"):
        place = tmp_path / name if name == "stored" else write("clean", 1)
        model.predict(place, tmp_path / f"{name}.tif")
        with rasterio.open(tmp_path / f"{name}.tif") as dataset:
            maps.append(dataset.read(1))
    assert (maps[0] == maps[1]).mean() > 0.99
    values, _ = open_city(tmp_path / "clean").scenes[0].read("msi", open_city(tmp_path / "clean").scenes[0].grid.window)
    found = model.predict_array({"msi": values}, statistics=tmp_path / "clean").argmax(0)
    assert (np.array(model.header.legend.ids)[found] == maps[1]).mean() > 0.97
    with pytest.raises(c2seg.InputError, match=r"values up to 3\d+, where the model takes reflectance"):
        model.predict_array({"msi": values * 1e4}, statistics=tmp_path / "clean")
    assert (maps[0] == field(1)[1]).mean() > 0.95
