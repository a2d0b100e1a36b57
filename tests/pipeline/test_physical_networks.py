"""A network on layers in physical units, from training to the map; what other cities must have for it."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import yaml

from c2seg.artifacts import read_model_file
from c2seg.data.physical_layers import OPTICAL, RADAR
from c2seg.errors import DataError
from c2seg.pipeline import fit
from c2seg.predict import MapOptions
from c2seg.predict.city import predict
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
