"""Zones of a vector file, such as districts: burned into windows of a map's grid when they are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine

from c2seg.data.vectors import in_pixels, is_vector, read_features
from c2seg.errors import DataError, InputError
from c2seg.types import Grid, Window
from c2seg.verify.classmap import windows_of

__all__ = ["DEFAULT_ZONE_FIELD", "NO_ZONE", "Zones", "open_zones"]

DEFAULT_ZONE_FIELD = "name"
NO_ZONE = "outside all zones"
_MOST_ZONES = 10_000


@dataclass(frozen=True)
class Zones:
    """Zones on the grid of a map. Code k of a pixel is ``names[k - 1]``; 0: it lies in no zone."""

    names: tuple[str, ...]
    path: Path
    field: str
    grid: Grid
    shapes: tuple[Any, ...]
    """Shapely geometries in columns and rows of the grid, in the order of the file."""
    numbers: tuple[int, ...]
    """Their codes."""
    rows: np.ndarray
    """First and last row of each, float64 [n, 2]."""

    def codes(self, window: Window) -> np.ndarray:
        """Return uint16 [H, W]: the zone that covers the center of each pixel; later polygons cover earlier ones."""
        from rasterio.features import rasterize

        near = np.flatnonzero((self.rows[:, 1] >= window.row) & (self.rows[:, 0] <= window.row_end)).tolist()
        if not near:
            return np.zeros((window.height, window.width), np.uint16)
        burned: np.ndarray = rasterize(
            ((self.shapes[k], self.numbers[k]) for k in near), (window.height, window.width), fill=0,
            transform=Affine.translation(window.col, window.row), dtype="uint16",
        )  # fmt: skip
        return burned

    def at(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Return uint16 [n]: the codes of pixels."""
        codes = np.zeros(len(rows), np.uint16)
        for window, inside in windows_of(rows, self.grid):
            codes[inside] = self.codes(window)[rows[inside] - window.row, cols[inside]]
        return codes


def open_zones(path: Path, field: str | None, grid: Grid) -> Zones:
    """Read the polygons of a vector file as zones of a grid; those of one value of ``field`` are one zone.

    Raises DataError for a file that is unreadable, has no CRS, or does not reach the grid, InputError without the field.
    """
    if not is_vector(path):
        raise InputError(f"{path} is no vector file; give zones as GeoPackage, GeoJSON, Shapefile or FlatGeobuf")
    if grid.crs is None:
        raise DataError(f"{path} is a vector file, and the map has no CRS; zones need one")
    field = field or DEFAULT_ZONE_FIELD
    crs, values, shapes = read_features(
        path, (field,), what="zones of a vector file", advice="Name it with `zone_field`."
    )
    if crs is None:
        raise DataError(f"{path} has no CRS; assign one (ogr2ogr -a_srs)")
    import shapely

    placed = in_pixels(shapes, crs, grid, path)
    bounds = shapely.bounds(placed)
    inside = (bounds[:, 2] > 0) & (bounds[:, 0] < grid.width) & (bounds[:, 3] > 0) & (bounds[:, 1] < grid.height)
    if not inside.any():
        raise DataError(f"{path}: no polygon covers a pixel of the map (bounds {grid.bounds_xy})")
    texts = [str(value).strip() for value in values[inside]]
    names = tuple(dict.fromkeys(texts))
    if len(names) > _MOST_ZONES:
        raise InputError(f"{path}: {field} has {len(names)} values; name a field of at most {_MOST_ZONES} zones")
    numbers = tuple(names.index(text) + 1 for text in texts)
    return Zones(names, path, field, grid, tuple(placed[inside]), numbers, bounds[inside][:, [1, 3]])
