"""Tiles that follow no rule: every one is a scene of its own, from training to the submission."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import yaml

import c2seg
from c2seg.cli import run
from c2seg.data import TileGrid, open_city, open_labeled_city, write_tiles
from helpers.toy_cities import make_city


@pytest.fixture
def shuffled(tmp_path):
    """Two splits whose tiles were renumbered at random."""
    places = []
    for number, name in enumerate(("train", "test")):
        city, place = make_city(96, 96, seed=number), tmp_path / name
        write_tiles(city, place, TileGrid(96, 96, 48, 24 if name == "train" else 48))
        count = len(list((place / "msi").iterdir()))
        order = np.random.default_rng(number).permutation(count)
        for folder in (item for item in place.iterdir() if item.is_dir()):
            for old, new in enumerate(order):
                (folder / f"{old}.tiff").rename(folder / f"{new}.tif")
        places.append(place)
    return places


def test_tiles_in_an_unknown_order_are_refused_with_the_way_out(shuffled):
    with pytest.raises(c2seg.DataError, match=r"cannot be assembled; `order: none` in tiles\.yaml"):
        open_city(shuffled[0])


def test_they_are_trained_predicted_scored_and_submitted_one_by_one(shuffled, tmp_path):
    for place in shuffled:
        (place / "tiles.yaml").write_text("name: Ulm\norder: none\n")
    train, test = shuffled
    city = open_labeled_city(train)
    assert [scene.name for scene in city.images.scenes] == [str(n) for n in range(9)]
    assert "no map of the city" in city.images.notes[0]
    np.testing.assert_array_equal(
        city.read_label(3, city.images.scenes[3].grid.window), c2seg_tile(train / "label" / "3.tif")
    )
    c2seg.fit(
        "forest", source=train, target=test, out=tmp_path / "run", overrides=["model.trees=5", "validation.folds=0"]
    )
    assert (
        run(["predict", str(tmp_path / "run/model.safetensors"), str(test), "--out", str(tmp_path / "maps"), "-q"]) == 0
    )
    assert sorted(path.name for path in (tmp_path / "maps").glob("*.tif")) == [f"{n}.tif" for n in range(4)]
    result = c2seg.score(tmp_path / "maps", test)
    assert result.record.maps == 4
    assert result.oa > 0.1
    assert run(["submit", "pack", str(tmp_path / "maps"), "--out", str(tmp_path / "entry.zip"), "-q"]) == 0
    with zipfile.ZipFile(tmp_path / "entry.zip") as archive:
        assert sorted(archive.namelist()) == [f"{n}_prediction.tif" for n in range(4)]


def c2seg_tile(path):
    import rasterio

    with rasterio.open(path) as dataset:
        return dataset.read(1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"name": "Ulm", "order": "none", "tile_px": 48}, "leave out tile_px"),
        ({"name": "Ulm", "height": 96}, "width, tile_px, step_px missing"),
    ],
)
def test_what_tiles_yaml_says_must_fit_together(shuffled, content, words):
    (shuffled[0] / "tiles.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(c2seg.DataError, match=words):
        open_city(shuffled[0])


def test_missing_and_odd_tiles_are_named(shuffled):
    place = shuffled[0]
    (place / "tiles.yaml").write_text("name: Ulm\norder: none\n")
    (place / "label" / "2.tif").unlink()
    with pytest.raises(c2seg.DataError, match="labels of tiles 2 are missing"):
        open_labeled_city(place)
    (place / "sar" / "4.tif").unlink()
    with pytest.raises(c2seg.DataError, match="sar: tiles 4 are missing"):
        open_city(place)
