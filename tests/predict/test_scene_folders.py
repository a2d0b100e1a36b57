"""Where the maps of a city of several scenes go."""

from __future__ import annotations

from dataclasses import replace

import pytest

from c2seg.errors import InputError
from c2seg.predict import MapOptions
from c2seg.predict.city import _scene_options as scene_options
from helpers.toy_cities import make_city


@pytest.fixture
def city():
    images = make_city(30, 30).images
    return replace(images, scenes=tuple(replace(images.scenes[0], name=name) for name in ("a", "b")))


def test_every_scene_has_a_map_and_probabilities(city, tmp_path):
    maps, layers = tmp_path / "maps", tmp_path / "layers"
    options = scene_options(city, MapOptions(maps, probabilities=layers))
    assert [(one.out, one.probabilities) for one in options] == [
        (maps / f"{name}.tif", layers / f"{name}.tif") for name in "ab"
    ]
    assert [one.probabilities for one in scene_options(city, MapOptions(maps))] == [None, None]


def test_other_layers_files_and_one_folder_for_both_are_refused(city, tmp_path):
    with pytest.raises(InputError, match="other layers, a preview and side files need one scene"):
        scene_options(city, MapOptions(tmp_path / "maps", confidence=tmp_path / "c.tif"))
    with pytest.raises(InputError, match="both are"):
        scene_options(city, MapOptions(tmp_path / "maps", probabilities=tmp_path / "maps"))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file is a file"):
        scene_options(city, MapOptions(tmp_path / "maps", probabilities=tmp_path / "file"))
