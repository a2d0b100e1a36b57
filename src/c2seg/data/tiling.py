"""The window rule of the C2Seg tiles: the position of tile N in its city.

Windows start at 0, step, 2 step, and so on. The last one is shifted back to end at the edge, without padding. C2Seg numbers
tiles down the columns (``N = ix * ny + iy``); ``order="rows"`` numbers along the rows.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from c2seg.errors import DataError
from c2seg.types import Window

__all__ = ["Order", "TileGrid"]

Order = Literal["columns", "rows"]
_MOST_TILES = 1_000_000


@dataclass(frozen=True, slots=True)
class TileGrid:
    """Square tiles of ``tile_px`` every ``step_px`` over a raster of ``height`` x ``width`` pixels."""

    height: int
    width: int
    tile_px: int
    step_px: int
    order: Order = "columns"

    def __post_init__(self) -> None:
        if not 1 <= self.step_px <= self.tile_px:
            raise DataError(f"tiles of {self.tile_px} px need a step of 1 to {self.tile_px} px, found {self.step_px}")
        if min(self.height, self.width) < self.tile_px:
            raise DataError(f"a scene of {self.height} x {self.width} px is smaller than a tile of {self.tile_px} px")
        if (self.height // self.step_px + 1) * (self.width // self.step_px + 1) > _MOST_TILES:
            raise DataError(
                f"a scene of {self.height} x {self.width} px has more than {_MOST_TILES:,} tiles every {self.step_px} px"
            )

    @property
    def row_offsets(self) -> tuple[int, ...]:
        """First rows of the tiles, ascending."""
        return _offsets(self.height, self.tile_px, self.step_px)

    @property
    def col_offsets(self) -> tuple[int, ...]:
        """First columns of the tiles, ascending."""
        return _offsets(self.width, self.tile_px, self.step_px)

    @property
    def count(self) -> int:
        """Number of tiles."""
        return len(self.row_offsets) * len(self.col_offsets)

    def index(self, iy: int, ix: int) -> int:
        """Return the number of the tile in tile row ``iy`` and tile column ``ix``."""
        return ix * len(self.row_offsets) + iy if self.order == "columns" else iy * len(self.col_offsets) + ix

    def windows(self) -> Iterator[Window]:
        """Yield the windows of all tiles in the order of their numbers."""
        rows, cols = self.row_offsets, self.col_offsets
        t = self.tile_px
        if self.order == "columns":
            yield from (Window(row, col, t, t) for col in cols for row in rows)
        else:
            yield from (Window(row, col, t, t) for row in rows for col in cols)

    def cover(self, window: Window) -> Iterator[tuple[tuple[int, int], Window]]:
        """Yield tiles (iy, ix) and parts of them (scene coordinates) that cover each pixel of ``window`` once.

        It selects few tiles. ``window`` must lie inside the scene.
        """
        columns = list(_reach(self.col_offsets, self.tile_px, window.col, window.col_end))
        for iy, row, row_end in _reach(self.row_offsets, self.tile_px, window.row, window.row_end):
            for ix, col, col_end in columns:
                yield (iy, ix), Window(row, col, row_end - row, col_end - col)

    def neighbors(self) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        """Yield all pairs ((iy, ix), (iy', ix')) of neighboring tiles: first below, then to the right."""
        ny, nx = len(self.row_offsets), len(self.col_offsets)
        yield from (((iy, ix), (iy + 1, ix)) for ix in range(nx) for iy in range(ny - 1))
        yield from (((iy, ix), (iy, ix + 1)) for ix in range(nx - 1) for iy in range(ny))

    def place(self, iy: int, ix: int) -> Window:
        """Return the window of the tile in tile row ``iy`` and tile column ``ix``."""
        return Window(self.row_offsets[iy], self.col_offsets[ix], self.tile_px, self.tile_px)


@lru_cache(maxsize=64)
def _offsets(length: int, tile: int, step: int) -> tuple[int, ...]:
    offsets = list(range(0, length - tile + 1, step))
    if offsets[-1] != length - tile:
        offsets.append(length - tile)
    return tuple(offsets)


def _reach(offsets: tuple[int, ...], tile: int, first: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Cover ``first .. end-1`` greedily: at each position, the last tile that contains it extends furthest."""
    position = first
    while position < end:
        k = bisect_right(offsets, position) - 1
        reach = min(end, offsets[k] + tile)
        yield k, position, reach
        position = reach
