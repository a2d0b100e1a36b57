"""A sample entry: valid tiles with a pattern of all classes. It is made from the sizes of the tiles alone."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from c2seg.challenge.joining import join_archives
from c2seg.challenge.rules import TileSet
from c2seg.challenge.submission import write_tile
from c2seg.legend import Legend

__all__ = ["write_sample"]

_CELL_PX = 8


def write_sample(path: Path, tile_sets: Mapping[str, TileSet], legend: Legend, scratch: Path) -> None:
    """Write an entry for all data sets as one zip; ``scratch`` is an empty folder for its parts."""
    archives = {}
    for position, (name, tile_set) in enumerate(tile_sets.items()):
        archives[name] = scratch / f"{position}.zip"
        with zipfile.ZipFile(archives[name], "w") as archive:
            for number, size in tile_set.sizes.items():
                write_tile(archive, number, _pattern(size, tile_set.ids), legend)
    join_archives(archives, path)


def _pattern(size: tuple[int, int], ids: tuple[int, ...]) -> np.ndarray:
    """Return uint8 [H, W]: squares of all classes in turn, the same in every tile."""
    rows, cols = (np.arange(side) // _CELL_PX for side in size)
    pattern: np.ndarray = np.asarray(ids, np.uint8)[(rows[:, None] * 3 + cols) % len(ids)]
    return pattern
