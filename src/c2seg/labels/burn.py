"""Fractions of pixels covered by polygons: 25 samples per pixel, painted in one ordered rasterization, block by block.

The samples of a pixel are a 5 x 5 grid rotated by the angle of the 3-4-5 triangle: the points
(m + 1/2, 7 m mod 25 + 1/2) / 25, m = 0..24. Their distance is 1/5 pixel, as in an upright 5 x 5 grid, and they repeat with the
pixels. No two samples share a row or a column. Edges along the axes, the most frequent ones, are therefore located to 1/25 of
a pixel instead of 1/5. In lattice coordinates p = 4 x + 3 y, q = 3 x - 4 y the samples are the cells of an ordinary raster,
which GDAL fills. The lattice does not depend on the blocks, so neither do the results.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import shapely
from affine import Affine

from c2seg.types import Grid

__all__ = ["OUTSIDE", "SAMPLES", "UNMAPPED", "Burner"]

SAMPLES = 25
OUTSIDE, UNMAPPED = 254, 255  # codes of samples outside all polygons
_BLOCK_PX = 256
_M = np.arange(SAMPLES)
_DX, _DY = (_M + 0.5) / SAMPLES, ((7 * _M) % SAMPLES + 0.5) / SAMPLES
# The samples' lattice coordinates differ from cell centers by a constant shift.
_SHIFT_P, _SHIFT_Q = 0.36, 0.52
_P, _Q = (np.floor(v).astype(np.int64) for v in (4 * _DX + 3 * _DY + _SHIFT_P, 3 * _DX - 4 * _DY + _SHIFT_Q))


@dataclass(frozen=True)
class Burner:
    """Burns polygons onto a grid, later ones on top.

    ``polygons`` [N] are in pixels of the grid. ``codes`` uint8 [N] are their rules (below 250). ``covered`` is the part of the
    grid that the extract covers, in pixels.
    """

    grid: Grid
    polygons: np.ndarray
    codes: np.ndarray
    covered: shapely.Geometry
    _tree: shapely.STRtree = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_tree", shapely.STRtree(self.polygons))
        shapely.prepare(self.covered)

    def count(self, first: int, last: int, groups: np.ndarray, num_groups: int) -> tuple[np.ndarray, np.ndarray]:
        """Count the samples of the rows ``first .. last-1``.

        ``groups`` uint8 [256] maps codes to groups 0..G-1. Returns the samples per group, uint8 [G, rows, W], whose sum is 25,
        and per code, int64 [256].
        """
        counts = np.empty((num_groups, last - first, self.grid.width), np.uint8)
        by_code = np.zeros(256, np.int64)
        for row in range(first, last, _BLOCK_PX):
            height = min(_BLOCK_PX, last - row)
            for col in range(0, self.grid.width, _BLOCK_PX):
                width = min(_BLOCK_PX, self.grid.width - col)
                samples = self._samples(row, col, height, width)
                by_code += np.bincount(samples.ravel(), minlength=256)
                cells = groups[samples] + np.arange(height * width) * num_groups
                block = np.bincount(cells.ravel(), minlength=height * width * num_groups)
                counts[:, row - first : row - first + height, col : col + width] = (
                    block.astype(np.uint8).reshape(height, width, num_groups).transpose(2, 0, 1)
                )
        return counts, by_code

    def _samples(self, row: int, col: int, height: int, width: int) -> np.ndarray:
        """Return the codes of all samples of a block, uint8 [25, height * width]."""
        frame = shapely.box(col, row, col + width, row + height)
        hits = np.sort(self._tree.query(frame))
        polygons, codes = self.polygons[hits], self.codes[hits]
        if not shapely.contains_properly(self.covered, frame):
            polygons = np.append(polygons, shapely.difference(frame, self.covered))
            codes = np.append(codes, np.uint8(OUTSIDE))
        # Lattice cells of the block: p (columns) from 0 up, q (rows) from -4 * height up.
        lattice = np.full((3 * width + 4 * height, 4 * width + 3 * height), UNMAPPED, np.uint8)
        clipped = shapely.clip_by_rect(polygons, col - 1, row - 1, col + width + 1, row + height + 1)
        parts, owner = shapely.get_parts(clipped, return_index=True)
        is_polygon = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
        _paint(lattice, parts[is_polygon], codes[owner[is_polygon]], (col, row), height)
        y, x = np.divmod(np.arange(height * width), width)
        base = (3 * x - 4 * y + 4 * height) * lattice.shape[1] + 4 * x + 3 * y
        samples: np.ndarray = lattice.ravel()[base + (_Q * lattice.shape[1] + _P)[:, None]]
        return samples


def _paint(
    lattice: np.ndarray, polygons: np.ndarray, codes: np.ndarray, origin_xy: tuple[int, int], height: int
) -> None:
    """Paint polygons (in pixels) in their order onto the lattice cells of a block whose centers they contain."""
    from rasterio.features import rasterize

    if not len(polygons):
        return
    matrix = np.array([[4.0, 3.0], [3.0, -4.0]])
    shift = np.array([_SHIFT_P, _SHIFT_Q + 4 * height])
    rotated = shapely.transform(polygons, lambda xy: (xy - origin_xy) @ matrix + shift)
    rasterize(zip(rotated, codes.tolist(), strict=True), out=lattice, transform=Affine.identity())
