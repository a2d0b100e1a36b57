"""A sample entry: valid tiles with a pattern of all classes. It is made from the sizes of the tiles alone."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from c2seg.challenge.joining import join_archives
from c2seg.challenge.rules import TileSet, file_name
from c2seg.challenge.submission import pack_submission
from c2seg.legend import Legend

__all__ = ["write_sample"]

_CELL_PX = 8


def write_sample(path: Path, tile_sets: Mapping[str, TileSet], legend: Legend, scratch: Path) -> None:
    """Write an entry for all data sets as one zip; ``scratch`` is an empty folder for its parts."""
    archives = {}
    for position, (name, tile_set) in enumerate(tile_sets.items()):
        tiles = scratch / str(position)
        tiles.mkdir()
        for number, size in tile_set.sizes.items():
            _write_tile(tiles / file_name(number), _pattern(size, tile_set.ids))
        archives[name] = scratch / f"{position}.zip"
        pack_submission(tiles, archives[name], legend)
    join_archives(archives, path)


def _pattern(size: tuple[int, int], ids: tuple[int, ...]) -> np.ndarray:
    """Return uint8 [H, W]: squares of all classes in turn, the same in every tile."""
    rows, cols = (np.arange(side) // _CELL_PX for side in size)
    pattern: np.ndarray = np.asarray(ids, np.uint8)[(rows[:, None] * 3 + cols) % len(ids)]
    return pattern


def _write_tile(path: Path, ids: np.ndarray) -> None:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver="GTiff", height=ids.shape[0], width=ids.shape[1], count=1, dtype="uint8", nodata=0
        ) as dataset:  # fmt: skip
            dataset.write(ids, 1)
