"""The one grid of a prepared city, and the coarser ones of its hyperspectral images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite
from pathlib import Path

from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.warp import transform, transform_bounds

from c2seg.errors import DataError, GridError, InputError, one_line
from c2seg.products import Kind, Product
from c2seg.raster import RasterFile
from c2seg.types import Grid

__all__ = ["Area", "Bounds", "coarser", "grid_of", "overlaps"]

Bounds = tuple[float, float, float, float]
"""West, south, east, north in degrees; west is larger than east across the antimeridian."""

_DEGREES = "EPSG:4326"
_MOST_SIDE_PX = 200_000
_CLOSE = 1e-6
"""Of a pixel: bounds that miss a whole multiple of the resolution by less lie on it."""


@dataclass(frozen=True)
class Area:
    """What is prepared: the grid of the raster ``like``, or ``bounds`` (None: where all products overlap).

    ``resolution_m`` is the pixel size in meters; None: that of the finest multispectral product, else the finest of all.
    ``crs``: a projected CRS; None: the UTM zone of the multispectral products if they agree, else that of the area's center.
    """

    like: Path | None = None
    bounds: Bounds | None = None
    resolution_m: float | None = None
    crs: str | None = None

    def check(self) -> None:
        """Raise InputError for parameters that contradict each other or make no sense."""
        if self.like is not None and (self.bounds or self.resolution_m or self.crs):
            raise InputError("`like` gives the grid; leave out `bounds`, `resolution` and `crs`")
        if self.resolution_m is not None and not (isfinite(self.resolution_m) and self.resolution_m > 0):
            raise InputError(f"`resolution` {self.resolution_m} is not a positive number of meters")
        if self.bounds is not None:
            west, south, east, north = self.bounds
            inside = -180 <= west <= 180 and -180 <= east <= 180 and -84 <= south < north <= 84
            if not (inside and west != east):
                raise InputError(
                    f"`bounds` {_shown(self.bounds)} are not west, south, east, north in degrees within -180..180 and -84..84"
                )


def grid_of(area: Area, products: Mapping[Kind, Sequence[Product]]) -> Grid:
    """Return the fine grid: north up, with the pixels of the finest product if it has this resolution and CRS, so that they are
    copied; else with edges on whole multiples of the resolution. Raises InputError, GridError or DataError.
    """
    area.check()
    if area.like is not None:
        grid = RasterFile(area.like).grid
        if grid.crs is None:
            raise GridError(f"`like`: {area.like} has no CRS; set one (gdal_edit.py -a_srs EPSG:...)")
        return grid
    every = [product for items in products.values() for product in items]
    preferred = products.get("msi") or every
    resolution = area.resolution_m or min(product.resolution_m for product in preferred)
    bounds = area.bounds or _shared(every)
    crs = _projected(area.crs) if area.crs else _utm_of(preferred, bounds)
    box = _projected_bounds(bounds, crs) if area.bounds else _shared_in(every, bounds, crs)
    resolution /= crs.linear_units_factor[1]
    return _snapped(box, resolution, crs, _first_edge(preferred, resolution, crs))


def coarser(grid: Grid, resolution_m: float) -> Grid:
    """Return the grid of a coarser modality: whole multiples of the fine pixels, from the same origin."""
    side = grid.pixel_side_m() or grid.resolution_xy[0]
    ratio = max(1, round(resolution_m / side))
    height, width = -(-grid.height // ratio), -(-grid.width // ratio)
    return Grid(height, width, grid.transform @ Affine.scale(ratio), grid.crs)


def overlaps(product: Product, grid: Grid) -> bool:
    """Return whether the bounding boxes of a product and a grid touch, in degrees."""
    west, south, east, north = _degrees(grid)
    w, s, e, n = product.bounds_lonlat
    return max(south, s) < min(north, n) and any(
        max(a, c) < min(b, d) for a, b in _pieces(west, east) for c, d in _pieces(w, e)
    )


def _degrees(grid: Grid) -> Bounds:
    west, south, east, north = transform_bounds(CRS.from_wkt(str(grid.crs)), _DEGREES, *grid.bounds_xy, densify_pts=21)
    return west, south, east, north


def _pieces(west: float, east: float) -> list[tuple[float, float]]:
    return [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]


def _shared(products: Sequence[Product]) -> Bounds:
    """Return where all products overlap; longitudes are counted from the first product's west."""
    origin = products[0].bounds_lonlat[0]
    boxes = []
    for product in products:
        west, south, east, north = product.bounds_lonlat
        start = (west - origin + 180) % 360 - 180
        boxes.append((start, south, start + (east - west) % 360, north))
    west, south, east, north = (
        pick(values) for pick, values in zip((max, max, min, min), zip(*boxes, strict=True), strict=True)
    )
    if not (west < east and south < north):
        raise _apart(products)
    return _wrapped(origin + west), south, _wrapped(origin + east), north


def _wrapped(longitude: float) -> float:
    return (longitude + 180) % 360 - 180


def _utm_of(products: Sequence[Product], bounds: Bounds) -> CRS:
    """Return the UTM zone that all products are in; else that of the center of the bounds."""
    zones = {_utm_code(product.crs) for product in products}
    code = zones.pop() if len(zones) == 1 else None
    if code is None:
        west, south, east, north = bounds
        longitude = _wrapped(west + ((east - west) % 360) / 2)
        zone = min(60, int((longitude + 180) // 6) + 1)
        code = (32600 if (south + north) / 2 >= 0 else 32700) + zone
    return CRS.from_epsg(code)


def _utm_code(wkt: str | None) -> int | None:
    code = CRS.from_wkt(wkt).to_epsg() if wkt else None
    return code if code and (32601 <= code <= 32660 or 32701 <= code <= 32760) else None


def _shared_in(products: Sequence[Product], bounds: Bounds, crs: CRS) -> Bounds:
    """Return where all products overlap, in a CRS: native grids in it count as they are, of others the degrees."""
    boxes = [_projected_bounds(bounds, crs)]
    for product in products:
        grid = getattr(product, "grid", None)
        if isinstance(grid, Grid) and CRS.from_wkt(str(grid.crs)) == crs:
            boxes.append(grid.bounds_xy)
    west, south, east, north = (
        pick(values) for pick, values in zip((max, max, min, min), zip(*boxes, strict=True), strict=True)
    )
    if not (west < east and south < north):
        raise _apart(products)
    return west, south, east, north


def _apart(products: Sequence[Product]) -> DataError:
    names = ", ".join(product.facts.product for product in products)
    return DataError(f"the products do not overlap ({names}); give products of one place")


def _projected(text: str) -> CRS:
    try:
        crs = CRS.from_user_input(text)
    except (CRSError, ValueError) as error:
        raise InputError(f"`crs`: {text!r} is not a CRS; give one like EPSG:32632") from error
    if not crs.is_projected:
        raise InputError(f"`crs`: {text} is not projected; leave it out to use the UTM zone of the area")
    return crs


def _projected_bounds(bounds: Bounds, crs: CRS) -> Bounds:
    west, south, east, north = bounds
    span, steps = (east - west) % 360, 21
    edge = [(_wrapped(west + span * i / steps), y) for i in range(steps + 1) for y in (south, north)]
    edge += [(_wrapped(x), south + (north - south) * i / steps) for i in range(steps + 1) for x in (west, west + span)]
    try:
        xs, ys = transform(_DEGREES, crs, *map(list, zip(*edge, strict=True)))
    except RasterioError as error:
        raise GridError(f"`bounds` {_shown(bounds)} cannot be transformed: {one_line(error)}") from error
    if not all(map(isfinite, (*xs, *ys))):
        raise GridError(f"`bounds` {_shown(bounds)} are outside the area of their CRS")
    return min(xs), min(ys), max(xs), max(ys)


def _first_edge(products: Sequence[Product], resolution: float, crs: CRS) -> tuple[float, float]:
    """Return x and y of the first edge of native pixels from 0 on, in pixels: scenes of Landsat lie on half ones."""
    for product in products:
        grid = getattr(product, "grid", None)
        if not isinstance(grid, Grid) or CRS.from_wkt(str(grid.crs)) != crs:
            continue
        a, b, x, d, e, y = grid.transform[:6]
        if max(abs(a - resolution), abs(-e - resolution), abs(b), abs(d)) <= _CLOSE * resolution:
            return x / resolution % 1, y / resolution % 1
    return 0.0, 0.0


def _snapped(box: Bounds, resolution: float, crs: CRS, edge: tuple[float, float] = (0.0, 0.0)) -> Grid:
    west, south, east, north = (value / resolution - edge[k % 2] for k, value in enumerate(box))
    first_column, top = floor(west + _CLOSE), ceil(north - _CLOSE)
    width, height = ceil(east - _CLOSE) - first_column, top - floor(south + _CLOSE)
    if max(width, height) > _MOST_SIDE_PX:
        raise InputError(f"the area has {height} x {width} pixels of {resolution:g} m; at most {_MOST_SIDE_PX} a side")
    x, y = (first_column + edge[0]) * resolution, (top + edge[1]) * resolution
    origin = Affine(resolution, 0, x, 0, -resolution, y)
    return Grid(height, width, origin, crs.to_wkt())


def _shown(bounds: Bounds) -> str:
    return ",".join(f"{value:g}" for value in bounds)
