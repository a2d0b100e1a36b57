"""Simulated C2Seg at the sizes of the releases: looked for, paired, and scored alike from every layout. Slow."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from c2seg.benchmark import run_benchmark
from c2seg.data import open_city
from c2seg.data.finding import find_data
from c2seg.data.pairing import data_pairs
from c2seg.data.published import CITIES, challenge_tiles
from c2seg.types import Window

pytestmark = pytest.mark.slow

FOREST = ["model.trees=4", "model.pixels_per_class=300", "validation.folds=0"]


def simulated(out: Path, pair: str, layout: str, scale: float) -> Path:
    pytest.importorskip("earthlib")
    from c2seg import simulate_pair

    simulate_pair(out, pair=pair, scale=scale, layout=layout)
    return out


def ranked(root: Path, out: Path):
    """Run the forest on the data under a folder; return its row of Table I."""
    return run_benchmark(data=root, recipes="forest", table="I", seeds=1, overrides=FOREST, out=out).ranking[0]


def test_ab_at_full_size_scores_alike_from_tiles_and_whole_scenes(tmp_path):
    whole = simulated(tmp_path / "mat", "ab", "mat", 1.0)
    tiles = simulated(tmp_path / "both" / "tiles", "ab", "tiles", 1.0)
    counts = [len(list((tiles / f"C2Seg_AB/{split}/msi").iterdir())) for split in ("train", "test")]
    assert counts == [273, 140]
    (tmp_path / "both" / "whole").symlink_to(whole, target_is_directory=True)
    (pair,) = data_pairs(find_data(tmp_path / "both"))
    assert (pair.target.path, pair.reference.name) == (tiles / "C2Seg_AB/test", "birch_multimodal.mat")
    assert pair.target.size == (CITIES["Berlin"].height, CITIES["Berlin"].width)
    assert pair.simulated
    from_tiles, from_mat = (ranked(tmp_path / root, tmp_path / f"b-{root}") for root in ("both", "mat"))
    assert from_tiles.datasets == from_mat.datasets
    assert from_tiles.datasets["AB"].miou != from_tiles.datasets["AB"].mosaic_miou


def test_bw_at_an_eighth_scores_alike_from_tiles_and_whole_scenes(tmp_path):
    whole = simulated(tmp_path / "mat", "bw", "mat", 0.125)
    simulated(tmp_path / "both" / "tiles", "bw", "tiles", 0.125)
    (tmp_path / "both" / "whole").symlink_to(whole, target_is_directory=True)
    rows = [ranked(tmp_path / root, tmp_path / f"b-{root}").datasets["BW"] for root in ("both", "mat")]
    assert rows[0] == rows[1]  # tiles hold the HSI at 10 m, whole scenes at 30 m: the same values


@pytest.mark.skipif(not os.environ.get("C2SEG_FULL_SIZE"), reason="C2SEG_FULL_SIZE is not set: 5 GB and half an hour")
def test_bw_at_full_size_as_whole_scenes(tmp_path):
    root = simulated(tmp_path / "mat", "bw", "mat", 1.0)
    data = find_data(root)
    assert not data.problems
    (pair,) = data_pairs(data)
    assert pair.source.size == (CITIES["Beijing"].height, CITIES["Beijing"].width)
    scene = open_city(pair.source.path).scenes[0]
    values, valid = scene.read("hsi", Window(6000, 4000, 300, 600))
    assert values.shape[0] == 116
    assert valid.any()
    assert np.isfinite(values[:, valid]).all()


def test_tiles_of_the_releases_by_arithmetic():
    tiles = {name: city.tile_grids()[0] for name, city in CITIES.items()}
    assert {name: grid.count for name, grid in tiles.items()} == {
        "Augsburg": 273, "Berlin": 140, "Beijing": 7140, "Wuhan": 850
    }  # fmt: skip
    assert tiles["Wuhan"] == challenge_tiles("C2Seg-BW", 6225, 8670)
