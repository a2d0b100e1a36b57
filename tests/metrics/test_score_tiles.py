"""Scores over the challenge's tiles: pixels of overlapping tiles count in each."""

from __future__ import annotations

import json

import numpy as np
import pytest

import c2seg
from c2seg.cli import run
from c2seg.data.tiling import TileGrid
from c2seg.errors import InputError
from c2seg.metrics import Confusion, confusion_counts, count_maps, pair_maps, scores
from c2seg.metrics.tiles import count_tiles, repeated_windows
from helpers.rasters import write_raster

IDS = tuple(range(1, 14))


@pytest.mark.parametrize(
    ("height", "width", "tile"), [(70, 91, 32), (64, 91, 32), (70, 64, 32), (64, 64, 32), (64, 64, 64), (65, 66, 64)]
)
def test_counts_are_those_of_every_tile(tmp_path, height, width, tile):
    rng = np.random.default_rng(height + width)
    reference, prediction = (rng.integers(0, 14, (height, width)).astype(np.uint8) for _ in range(2))
    write_raster(tmp_path / "label.tif", reference[None])
    write_raster(tmp_path / "map.tif", prediction[None])
    (pair,) = pair_maps(tmp_path / "map.tif", tmp_path / "label.tif")
    whole = sum(count_maps([pair]), Confusion.empty(IDS))
    windows = list(TileGrid(height, width, tile, tile).windows())
    expected = sum(
        (confusion_counts(reference[w.slices], prediction[w.slices], IDS) for w in windows), Confusion.empty(IDS)
    )
    assert count_tiles(pair, whole, tile) == (expected, len(windows))


def test_berlin_and_wuhan_repeat_what_their_tiles_share():
    """20 x 7 tiles of 128 px, and 25 x 34 of 256."""
    for tiles, count, share in (
        (TileGrid(2465, 811, 128, 128), 140, 0.128),
        (TileGrid(6225, 8670, 256, 256), 850, 0.031),
    ):
        assert tiles.count == count
        extra = sum(w.height * w.width for w in repeated_windows(tiles))
        assert tiles.height * tiles.width + extra == count * tiles.tile_px**2
        assert extra / (count * tiles.tile_px**2) == pytest.approx(share, abs=5e-4)


def test_the_command_names_both(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for name in ("label", "map"):
        write_raster(tmp_path / f"{name}.tif", rng.integers(1, 4, (1, 70, 91)).astype(np.uint8))
    arguments = ["score", str(tmp_path / "map.tif"), str(tmp_path / "label.tif"), "--tile-px", "32", "-q"]
    assert run(arguments) == 0
    assert "by 9 tiles of 32 px, overlaps count in each: OA" in capsys.readouterr().out
    assert run([*arguments, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["by_tiles"]["pixels"], record["pixels"]) == (9 * 32 * 32, 70 * 91)
    assert record["by_tiles"]["miou"] != record["miou"]
    assert c2seg.score(tmp_path / "map.tif", tmp_path / "label.tif").record.by_tiles is None
    with pytest.raises(InputError, match="larger than the map"):
        c2seg.score(tmp_path / "map.tif", tmp_path / "label.tif", tile_px=128)


def test_folders_of_tiles_are_tiles_already(tmp_path):
    for folder in ("maps", "labels"):
        for number in (0, 1):
            write_raster(tmp_path / folder / f"{number}.tif", np.ones((1, 32, 32), np.uint8))
    assert scores(sum(count_maps(pair_maps(tmp_path / "maps", tmp_path / "labels")), Confusion.empty(IDS))).miou == 1
    with pytest.raises(InputError, match="cuts one map into tiles"):
        c2seg.score(tmp_path / "maps", tmp_path / "labels", tile_px=16)
