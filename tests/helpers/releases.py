"""Small pairs laid out as the releases of C2Seg, made in no time: toy cities with the record of a simulated pair."""

from __future__ import annotations

from pathlib import Path

from c2seg.data import TileGrid, write_folder, write_mat, write_tiles
from c2seg.data.city import LabeledCity
from helpers.toy_cities import make_city

HEIGHT, WIDTH, TILE_PX = 150, 130, 64


def toy_pair() -> tuple[LabeledCity, LabeledCity]:
    """A source and a target of one size, with other pixels."""
    return make_city(HEIGHT, WIDTH, 1, "here", ratio=1), make_city(HEIGHT, WIDTH, 2, "there", ratio=1)


def write_release(root: Path, layout: str, pair: str = "ab") -> tuple[Path, Path]:
    """Write a pair as ``simulate --layout`` arranges it; tiles of the target have no labels. Return source and target."""
    source, target = toy_pair()
    root.mkdir(parents=True, exist_ok=True)
    (root / "pair.yaml").write_text(f"{{pair: {pair}, source: here, target: there}}")
    if layout == "folder":
        places = root / "here", root / "there"
        for city, place in zip((source, target), places, strict=True):
            write_folder(city, place)
    elif layout == "mat":
        places = root / "here_multimodal.mat", root / "there_multimodal.mat"
        for city, place in zip((source, target), places, strict=True):
            write_mat(city, place, hdf5=pair == "bw")
    else:
        places = root / f"C2Seg_{pair.upper()}" / "train", root / f"C2Seg_{pair.upper()}" / "test"
        write_tiles(source, places[0], TileGrid(HEIGHT, WIDTH, TILE_PX, TILE_PX // 2), nested=("hsi",))
        write_tiles(target.images, places[1], TileGrid(HEIGHT, WIDTH, TILE_PX, TILE_PX))
    return places
