"""A network on layers in physical units, from training to the map; what other cities must have for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import rasterio
import yaml
from affine import Affine
from rasterio.crs import CRS

from c2seg.artifacts import read_model_file
from c2seg.data import open_city
from c2seg.data.physical_layers import OPTICAL, RADAR, sentinel_layers
from c2seg.errors import DataError
from c2seg.pipeline import fit
from c2seg.predict import MapOptions
from c2seg.predict.backends.export import export
from c2seg.predict.city import predict
from c2seg.raster import ArrayRaster
from c2seg.recipes import load_recipe

CITY = {
    "modalities": {
        "msi": {"file": "msi.tif", "bands": [{"role": r} for r in ("blue", "green", "red", "nir")], "scale": 0.0001},
        "sar": {"file": "sar.tif", "bands": [{"role": "vv"}, {"role": "vh"}]},
    }
}
SMALL = [
    "model.token_px=2", "model.grid=4", "model.channels=8", "forest.model.trees=2", "training.iterations=1",
    "training.sampling.patch_px=16", "training.sampling.batch_size=2", "stages.teachers.networks=1",
    "stages.students=null", "prediction.window_px=32", "prediction.tta=false", "max_bands=3",
]  # fmt: skip


@pytest.fixture
def place(make_city):
    """Return a maker of cities in physical units."""

    def make(name, *left_out, **keys):
        folder = make_city(
            name, height=48, width=56, modalities=[m for m in ("msi", "sar") if m not in left_out], **keys
        )
        content = {key: value for key, value in CITY["modalities"].items() if key not in left_out}
        (folder / "city.yaml").write_text(yaml.safe_dump({"name": name, "modalities": content}))
        return folder

    return make


def test_layers_come_with_the_network_and_are_made_again_for_every_city(place, tmp_path):
    source, target = place("source", seed=1), place("target", seed=2, label=False)
    run = fit(load_recipe("crosscity@galileo", "demo", SMALL), [source], tmp_path / "run", target=target)
    model = tmp_path / "run" / "model.safetensors"
    header = read_model_file(model).header
    assert list(header.inputs) == ["msi", "sar", OPTICAL, RADAR]
    assert set(header.projection) == {"msi"}, "layers keep their bands"
    assert any("no band for B05" in note for note in run.notes)
    for city in (place("other", seed=3, label=False), place("optical", "sar", seed=4, label=False)):
        predict(model, city, MapOptions(city / "map.tif"), device="cpu")
        with rasterio.open(city / "map.tif") as file:
            assert set(np.unique(file.read(1))) <= {1, 3, 10}
    gray = place("gray", seed=5, label=False)
    (gray / "city.yaml").write_text((gray / "city.yaml").read_text().replace("0.0001", "0.9"))
    with pytest.raises(DataError, match="msi of gray: the network takes reflectance"):
        predict(model, gray, MapOptions(gray / "map.tif"), device="cpu")


def test_a_forest_does_not_see_the_layers():
    """Its inputs are those of the recipe without such a network."""
    from c2seg.data.physical_layers import measured

    assert measured(["msi", "sar", OPTICAL, RADAR]) == ("msi", "sar")
    assert load_recipe("crosscity").physical == ()
    assert load_recipe("crosscity@galileo").physical == (OPTICAL, RADAR)
    assert load_recipe("crosscity@ukis-csmask").physical == (OPTICAL,)
    stage = load_recipe("crosscity@ukis-csmask").stages["teachers"]
    assert stage.available_inputs(("msi", "sar", OPTICAL, RADAR)) == ("msi", "sar", OPTICAL)


SHORT = (
    "model.widths=[4,8]", "training.iterations=25", "training.sampling={patch_px: 16, batch_size: 4}",
    "forest.model.trees=4", "prediction.window_px=48", "comparison.limit=1000",
)  # fmt: skip


def test_the_teacher_is_pretrained_where_cities_have_bands_of_sentinel_alone(place, tmp_path):
    source, target = place("source", seed=1), place("target", seed=2, label=False)
    run = fit(load_recipe("crosscity", "demo", SHORT), [source], tmp_path / "run", target=target)
    model = tmp_path / "run" / "model.safetensors"
    recipe = read_model_file(model).header.recipe
    assert [stage.model.name for stage in recipe.stages.values()] == ["galileo", "unet"]
    assert [stage.fraction for stage in recipe.stages.values()] == [0.08, 0.5]
    assert recipe.normalization == "midway"
    assert any("tensors from galileo-nano" in note for note in run.notes)
    assert max(export(read_model_file(model), tmp_path / "model.onnx").largest_difference.values()) < 1e-4
    other = place("other", seed=3, label=False)
    predict(model, other, MapOptions(other / "map.tif"), device="cpu")
    with rasterio.open(other / "map.tif") as file:
        assert set(np.unique(file.read(1))) <= {1, 3, 10}


def test_inputs_that_only_left_out_networks_read_are_not_given_to_a_graph(place, tmp_path):
    """Only the teacher reads layers in physical units, and the map is the student's."""
    source, target = place("source", seed=1), place("target", seed=2, label=False)
    settings = (*SHORT, "training.iterations=8", "forest=null")
    fit(load_recipe("crosscity@students-alone", "demo", settings), [source], tmp_path / "run", target=target)
    model = tmp_path / "run" / "model.safetensors"
    assert max(export(read_model_file(model), tmp_path / "model.onnx").largest_difference.values()) < 1e-4
    for backend in ("torch", "onnx", "openvino"):
        predict(model, target, MapOptions(tmp_path / f"{backend}.tif"), backend=backend, device="cpu")
        with rasterio.open(tmp_path / "torch.tif") as first, rasterio.open(tmp_path / f"{backend}.tif") as file:
            assert (file.read(1) == first.read(1)).mean() > 0.99


def test_other_bands_and_unknown_units_have_networks_of_our_own(place, tmp_path):
    source = place("source", seed=1)
    gray = place("gray", seed=5, label=False)
    (gray / "city.yaml").write_text((gray / "city.yaml").read_text().replace("0.0001", "0.9"))
    fit(load_recipe("crosscity", "demo", SHORT), [source], tmp_path / "run", target=gray)
    header = read_model_file(tmp_path / "run" / "model.safetensors").header
    assert [stage.model.name for stage in header.recipe.stages.values()] == ["unet", "unet"]
    assert list(header.inputs) == ["msi", "sar"]


def test_layers_hold_all_of_a_city_or_none_are_taken(place):
    city = open_city(place("city", seed=1))
    assert sentinel_layers(city) == (OPTICAL, RADAR)
    [scene] = city.scenes
    msi = scene.modality("msi")
    for further in (replace(msi, name="hsi"), replace(msi, name="thermal")):
        more = replace(scene, modalities={**scene.modalities, further.name: further})
        assert sentinel_layers(replace(city, scenes=(more,))) == ()
    raster = ArrayRaster(np.ones((40, scene.grid.height, scene.grid.width), np.uint16))
    wide = replace(msi, source=raster, bands=tuple(msi.bands) * 40)
    for side, layers in ((0.5, ()), (30, (OPTICAL, RADAR)), (250, ())):
        grid = replace(scene.grid, transform=Affine(side, 0, 0, 0, -side, 0), crs=CRS.from_epsg(32632).to_wkt())
        assert sentinel_layers(replace(city, scenes=(replace(scene, grid=grid),))) == layers
    many = replace(scene, modalities={"msi": wide})
    assert sentinel_layers(replace(city, scenes=(many,))) == ()
