"""Relations between aligned grids: a fine grid and an equal or coarser one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from affine import Affine

from c2seg.errors import GridError
from c2seg.types import Grid, Window

__all__ = ["GridRelation", "relate_grids"]

_TOLERANCE_PX = 0.02  # of a fine pixel: rounding of coordinates in files, far below any co-registration error


@dataclass(frozen=True, slots=True)
class GridRelation:
    """Pixel (R, C) of the coarse grid covers the fine rows from ``row_offset + R*ratio``; columns alike.

    Offsets are integers in fine pixels. They may be negative: the coarse raster may extend beyond the fine one.
    """

    ratio: int = 1
    row_offset: int = 0
    col_offset: int = 0

    def to_coarse(self, window: Window) -> Window:
        """Return the smallest coarse window that covers a fine window."""
        return window.shift(-self.row_offset, -self.col_offset).coarsen(self.ratio)

    def to_fine(self, window: Window) -> Window:
        """Return the fine window that a coarse window covers."""
        r = self.ratio
        return Window(
            window.row * r + self.row_offset, window.col * r + self.col_offset, window.height * r, window.width * r
        )

    def nearest(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Return for the rows and columns of a fine window the cells of ``to_coarse(window)`` that they lie in, int64."""
        fine = self.to_fine(self.to_coarse(window))
        rows = (np.arange(window.row, window.row_end) - fine.row) // self.ratio
        cols = (np.arange(window.col, window.col_end) - fine.col) // self.ratio
        return rows, cols


def relate_grids(fine: Grid, coarse: Grid, fine_name: str, coarse_name: str) -> GridRelation:
    """Return the relation of ``coarse`` to ``fine``.

    Raises GridError if the CRS differ, only one grid has a CRS, the axes are not parallel, the resolution is not an integer
    multiple, pixel edges do not coincide, or the rasters do not overlap. Grids without CRS must be equal, or the coarse one
    have whole pixels of the fine one, begin in the same corner, and just cover it.
    """
    names = f"{coarse_name} and {fine_name}"
    if (fine.crs is None) != (coarse.crs is None):
        without = coarse_name if coarse.crs is None else fine_name
        raise GridError(f"{names}: {without} has no CRS while the other has; assign the same CRS to both")
    if fine.crs is None:
        if fine == coarse or _same_grid(fine, coarse):
            return GridRelation()
        ratio = round(coarse.resolution_xy[0] / fine.resolution_xy[0])
        if ratio < 2 or not _covers(coarse, fine, ratio):
            raise GridError(
                f"{names} have no CRS and different grids ({coarse.height} x {coarse.width} and "
                f"{fine.height} x {fine.width}); rasters without CRS must match exactly"
            )
        return GridRelation(ratio)
    if fine.crs != coarse.crs and not _same_crs(fine.crs, coarse.crs or ""):
        raise GridError(f"{names} have different CRS; warp one to the other's (gdalwarp -t_srs)")
    # Coarse pixel coordinates in fine pixels: the scale and the shift must be integers.
    relation = ~fine.transform @ coarse.transform
    span = max(coarse.height, coarse.width, 1)
    if max(abs(relation.b), abs(relation.d)) * span > 0.5:
        raise GridError(f"{names}: the axes of the grids are not parallel; warp one to the other's grid (gdalwarp)")
    if relation.a < 0 or relation.e < 0:
        raise GridError(f"{names}: one is stored upside down or mirrored; write it north up (gdalwarp)")
    ratio = round(relation.a)
    if ratio < 1 or max(abs(relation.a - ratio), abs(relation.e - ratio)) * span > 0.5:
        finer = round(1 / relation.a)
        if max(abs(relation.a * finer - 1), abs(relation.e * finer - 1)) * span <= 0.5:
            raise GridError(f"{names}: {coarse_name} is {finer} times finer; resample it to the other's grid")
        raise GridError(
            f"{names}: the grids are not aligned: pixel size {coarse.resolution_xy} is not an integer multiple of "
            f"{fine.resolution_xy}; resample one to the other's grid"
        )
    row, col = round(relation.f), round(relation.c)
    if max(abs(relation.f - row), abs(relation.c - col)) > _TOLERANCE_PX:
        raise GridError(
            f"{names}: pixel edges are shifted by {relation.c - col:+.2f} columns and {relation.f - row:+.2f} rows of "
            f"{fine_name}; align one to the other (gdalwarp -tap)"
        )
    result = GridRelation(ratio, row, col)
    if result.to_fine(coarse.window).intersect(fine.window).is_empty:
        raise GridError(f"{names} do not overlap: bounds {coarse.bounds_xy} and {fine.bounds_xy}")
    return result


def _covers(coarse: Grid, fine: Grid, ratio: int) -> bool:
    """Return whether a grid of ``ratio`` times coarser pixels begins where a fine one does, and just covers it."""
    same_corner = (fine.transform @ Affine.scale(ratio)).almost_equals(coarse.transform)
    return same_corner and (coarse.height, coarse.width) == (-(-fine.height // ratio), -(-fine.width // ratio))


def _same_grid(a: Grid, b: Grid) -> bool:
    return (a.height, a.width) == (b.height, b.width) and a.transform.almost_equals(b.transform)


@lru_cache(maxsize=256)
def _same_crs(a: str, b: str) -> bool:
    from rasterio.crs import CRS

    return bool(CRS.from_wkt(a) == CRS.from_wkt(b))
