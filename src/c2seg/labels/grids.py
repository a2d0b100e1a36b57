"""Grids of label rasters, and the conversion from degrees to their pixels."""

from __future__ import annotations

from math import ceil, floor, isfinite
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from affine import Affine

from c2seg.errors import GridError, InputError, one_line
from c2seg.labels.extract import Box, degrees_of
from c2seg.raster import RasterFile
from c2seg.types import Grid

__all__ = ["geographic_box", "grid_from_bounds", "grid_like", "metric_crs", "project", "to_pixels", "wkt_of"]

DEGREES = "EPSG:4326"
_MAX_SIDE_PX = 200_000
_SCALE_TOLERANCE = 0.01  # maximum relative error of a CRS's meters for buffering in that CRS


def grid_like(path: Path) -> Grid:
    """Return the grid of a raster. Raises GridError if it has no CRS, since its location is then unknown."""
    grid = RasterFile(path).grid
    if grid.crs is None:
        raise GridError(f"{path} has no CRS, so it cannot be labeled; set one (gdal_edit.py -a_srs EPSG:...)")
    return grid


def grid_from_bounds(bounds: Box, resolution_m: float, crs: str | None = None) -> Grid:
    """Return the north-up grid that covers ``bounds``, with edges on multiples of the resolution.

    Without ``crs`` the bounds are in degrees and the grid is in the UTM zone of their center. With a projected ``crs`` they are
    in its units. Raises InputError for invalid bounds, resolution or CRS.
    """
    west, south, east, north = bounds
    if not all(map(isfinite, bounds)) or not (west < east and south < north):
        raise InputError(f"bounds {bounds} are not west,south,east,north with west < east and south < north")
    if not isfinite(resolution_m) or resolution_m <= 0:
        raise InputError(f"resolution {resolution_m} is not a positive number of meters")
    if crs is None:
        if west < -180 or east > 180 or south < -84 or north > 84:
            raise InputError(
                f"bounds {bounds} are not degrees within -180..180 and -84..84; bounds in meters need `crs`"
            )
        target = _crs(_utm((west + east) / 2, (south + north) / 2))
        west, south, east, north = _transform_bounds(bounds, DEGREES, target)
    else:
        target = _crs(crs)
        if not target.is_projected:
            raise InputError(f"CRS {crs} is not projected; give a projected one, or omit it to use the UTM zone")
        resolution_m /= target.linear_units_factor[1]
    first_column, top = floor(west / resolution_m), ceil(north / resolution_m)
    width, height = ceil(east / resolution_m) - first_column, top - floor(south / resolution_m)
    if max(width, height) > _MAX_SIDE_PX:
        raise InputError(f"bounds and resolution give {height} x {width} pixels; at most {_MAX_SIDE_PX} a side")
    transform = Affine(resolution_m, 0, first_column * resolution_m, 0, -resolution_m, top * resolution_m)
    return Grid(height, width, transform, target.to_wkt())


def geographic_box(grid: Grid, margin_m: float) -> Box:
    """Return the bounding box of a grid in degrees, expanded by ``margin_m``. Raises GridError if there is none."""
    west, south, east, north = _transform_bounds(grid.bounds_xy, wkt_of(grid), _crs(DEGREES))
    x, y = degrees_of(margin_m, max(abs(south), abs(north)))
    return west - x, south - y, east + x, north + y


def metric_crs(grid: Grid) -> str:
    """Return a CRS in ground meters near the grid: the grid's CRS if possible, else its UTM zone.

    Units of degrees, feet and Web Mercator (whose meters depend on the latitude) are not ground meters.
    """
    from rasterio.warp import transform

    west, south, east, north = grid.bounds_xy
    x, y = (west + east) / 2, (south + north) / 2
    utm = _utm(*(v[0] for v in transform(wkt_of(grid), DEGREES, [x], [y])))
    crs = _crs(wkt_of(grid))
    if crs.is_projected:
        xs, ys = transform(crs, utm, [x, x + 1000, x], [y, y, y + 1000])
        lengths = [float(np.hypot(xs[i] - xs[0], ys[i] - ys[0])) for i in (1, 2)]
        if all(abs(length / 1000 - 1) < _SCALE_TOLERANCE for length in lengths):
            return wkt_of(grid)
    return utm


def project(geometries: np.ndarray, source: str, target: str) -> np.ndarray:
    """Transform the vertices of geometries between two CRS (x, y order)."""
    from rasterio.warp import transform

    if source == target or not len(geometries):
        return geometries

    def vertices(xy: np.ndarray) -> np.ndarray:
        return np.column_stack(transform(source, target, xy[:, 0], xy[:, 1])) if len(xy) else xy

    projected: np.ndarray = shapely.transform(geometries, vertices)
    return projected


def to_pixels(geometries: np.ndarray, grid: Grid) -> np.ndarray:
    """Convert geometries from the grid's CRS to pixels: x is the column, y the row, (0, 0) the corner of the first pixel."""
    a, b, c, d, e, f = (~grid.transform)[:6]
    matrix = np.array([[a, d], [b, e]])
    pixels: np.ndarray = shapely.transform(geometries, lambda xy: xy @ matrix + (c, f))
    return pixels


def wkt_of(grid: Grid) -> str:
    """Return the grid's CRS. Raises GridError if it has none."""
    if grid.crs is None:
        raise GridError("the grid has no CRS, so it cannot be labeled")
    return grid.crs


def _crs(text: str) -> Any:
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        return CRS.from_user_input(text)
    except (CRSError, ValueError) as error:
        raise InputError(f"{text!r} is not a CRS; give one like EPSG:32632") from error


def _utm(longitude: float, latitude: float) -> str:
    zone = min(60, int((longitude + 180) // 6) + 1)
    return f"EPSG:{(32600 if latitude >= 0 else 32700) + zone}"


def _transform_bounds(bounds: Box, source: str, target: Any) -> Box:
    from rasterio.errors import CRSError, RasterioError
    from rasterio.warp import transform_bounds

    try:
        west, south, east, north = transform_bounds(source, target, *bounds, densify_pts=21)
    except (CRSError, RasterioError) as error:
        raise GridError(f"bounds {bounds} cannot be transformed: {one_line(error)}") from error
    if not all(map(isfinite, (west, south, east, north))):
        raise GridError(f"bounds {bounds} are outside the area of their CRS")
    return west, south, east, north
