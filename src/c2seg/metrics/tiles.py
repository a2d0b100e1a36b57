"""Counts over the challenge's tiles, which cover a city: where the last row and column overlap, pixels count in each."""

from __future__ import annotations

from itertools import product

from c2seg.data.tiling import TileGrid
from c2seg.errors import InputError
from c2seg.metrics.confusion import Confusion
from c2seg.metrics.maps import count_windows
from c2seg.metrics.pairs import MapPair
from c2seg.types import Window

__all__ = ["count_tiles", "repeated_windows"]


def count_tiles(
    pair: MapPair, whole: Confusion, tile_px: int, *, protocol: str = "challenge", workers: int = 1
) -> tuple[Confusion, int]:
    """Return the counts over touching tiles of ``tile_px``, and the number of tiles; ``whole`` counts all pixels once.

    A pixel where k tiles overlap counts k times (at most four, where the last row and column cross). Only these parts are read
    again. Raises InputError if a tile is larger than the map.
    """
    if min(pair.height, pair.width) < tile_px:
        raise InputError(f"`tile_px` {tile_px} is larger than the map of {pair.height} x {pair.width} pixels")
    tiles = TileGrid(pair.height, pair.width, tile_px, tile_px)
    again = count_windows(pair, repeated_windows(tiles), protocol=protocol, workers=workers)
    return sum(again, whole), tiles.count


def repeated_windows(tiles: TileGrid) -> tuple[Window, ...]:
    """Return windows that hold every pixel as often as it lies in more than one of these tiles, which must touch.

    With r tile rows and c tile columns over a pixel it counts r * c times: once as such, r - 1 and c - 1 times by its row and
    column, and (r - 1) * (c - 1) times by both.
    """
    rows = _repeated(tiles.row_offsets, tiles.tile_px)
    cols = _repeated(tiles.col_offsets, tiles.tile_px)
    whole_rows, whole_cols = (0, tiles.height), (0, tiles.width)
    parts = [*product(rows, [whole_cols]), *product([whole_rows], cols), *product(rows, cols)]
    return tuple(Window(row, col, height, width) for (row, height), (col, width) in parts)


def _repeated(offsets: tuple[int, ...], tile: int) -> list[tuple[int, int]]:
    """Return first place and length of what the last tile shares with the one before; none if they only touch."""
    if len(offsets) < 2 or offsets[-2] + tile == offsets[-1]:
        return []
    return [(offsets[-1], offsets[-2] + tile - offsets[-1])]
