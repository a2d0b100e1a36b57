"""Where the pixels of a grid lie in a Sentinel-1 image: line and pixel, with an elevation model or by tie points alone.

With an elevation model: range-Doppler by ``sarsen`` from the annotation's orbit (Guide to Sentinel-1 Geocoding, UZH-S1-GC-AD).
It is solved at nodes of large patches of the grid and of four heights, and is a polynomial between them; slant range becomes
ground range with the two records of the annotation around each line. Without: GDAL's thin plate splines through the
annotation's tie points, whose heights come from a coarse terrain model of the agency.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
from rasterio.control import GroundControlPoint
from rasterio.transform import GCPTransformer

from c2seg.products.coordinates import Patch, between_nodes
from c2seg.products.elevation import Elevation
from c2seg.products.sentinel1_annotation import Annotation, Orbit, TiePoints
from c2seg.types import Grid, Window

__all__ = ["Geometry", "OrbitGeometry", "TiePointGeometry", "image_places", "radar_coordinates"]

_HEIGHTS_M = (-600.0, 9200.0)
"""Range of heights of the nodes; cubic polynomials over it are exact to about a millimeter of slant range."""
_PATCH_M = 20_000.0
_LIGHT_M_S = 299_792_458.0
_RADIUS_M, _FLATTENING = 6_378_137.0, 1 / 298.257223563  # WGS84


class Geometry(Protocol):
    """Gives the place of each pixel of a tile in the image."""

    def locate(self, grid: Grid, tile: Window) -> tuple[np.ndarray, np.ndarray]:
        """Return line and pixel, float64 [H, W], of the pixel centers of a tile of ``grid``; NaN where unknown.

        Tiles are fixed windows of the grid; the last digits depend on the tile.
        """


@dataclass(frozen=True, eq=False)
class TiePointGeometry:
    """Line and pixel by GDAL's thin plate splines through the tie points."""

    points: TiePoints

    def locate(self, grid: Grid, tile: Window) -> tuple[np.ndarray, np.ndarray]:
        """Return line and pixel of a tile's pixels."""
        patch = Patch(grid, tile)
        line, pixel = image_places(self.points, *patch.nodes_in("EPSG:4326"))
        down, across = patch.weights(tile)
        return between_nodes(down, line, across), between_nodes(down, pixel, across)


@dataclass(frozen=True, eq=False)
class OrbitGeometry:
    """Line and pixel from orbit, slant range and an elevation model."""

    annotation: Annotation
    elevation: Elevation
    tile_px: int = 512

    def locate(self, grid: Grid, tile: Window) -> tuple[np.ndarray, np.ndarray]:
        """Return line and pixel of a tile's pixels; NaN where the elevation model has no height."""
        heights = self.elevation.heights(grid, tile)
        patch = self._patch(grid, tile)
        solved = _solve(self.annotation, patch)
        down, across = patch.weights(tile)
        place = (heights - np.float32(np.mean(_HEIGHTS_M))) / np.float32(np.ptp(_HEIGHTS_M) / 2)

        def evaluate(nodes: np.ndarray) -> np.ndarray:
            result = between_nodes(down, nodes[-1], across)
            for coefficients in nodes[-2::-1]:
                result *= place
                result += between_nodes(down, coefficients, across)
            return result

        seconds = evaluate(solved.seconds)
        ground = _between_records(seconds, self.annotation.ground_range.seconds, lambda k: evaluate(solved.ground[k]))
        return seconds / self.annotation.line_interval_s, ground / self.annotation.range_spacing_m

    def _patch(self, grid: Grid, tile: Window) -> Patch:
        """Return the patch of the grid, some tiles wide, that holds a tile."""
        side = max(1, int(_PATCH_M / (self.tile_px * (grid.pixel_side_m() or 1.0)))) * self.tile_px
        return Patch(grid, Window(tile.row // side * side, tile.col // side * side, side, side))


def image_places(points: TiePoints, lon: np.ndarray, lat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return line and pixel, float64, of places in degrees (arrays of one shape) by GDAL's thin plate splines."""
    rows = zip(points.line, points.pixel, points.continuous_lon, points.lat, strict=True)
    control = [GroundControlPoint(row=r, col=c, x=x, y=y) for r, c, x, y in rows]
    if points.crosses_antimeridian:
        lon = np.where(lon < 0, lon + 360, lon)
    with GCPTransformer(control, tps=True) as transformer:
        line, pixel = transformer.rowcol(lon.ravel(), lat.ravel(), op=np.positive)
    return np.asarray(line, np.float64).reshape(lon.shape), np.asarray(pixel, np.float64).reshape(lon.shape)


def radar_coordinates(
    orbit: Orbit, first_line: np.datetime64, lon: np.ndarray, lat: np.ndarray, height: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return seconds from the first line and slant range in meters of places [N] (degrees, ellipsoidal meters), by sarsen."""
    import xarray
    from sarsen.geocoding import backward_geocode
    from sarsen.orbit import OrbitPolyfitInterpolator

    axes = {"axis": [0, 1, 2]}
    position = xarray.DataArray(
        orbit.positions.T, dims=("axis", "azimuth_time"), coords={**axes, "azimuth_time": orbit.times}
    )
    places = xarray.DataArray(_earth_fixed(lon, lat, height)[:, None, :], dims=("axis", "y", "x"), coords=axes)
    # Stops where the point is within 0.1 mm of the zero Doppler plane.
    solved = backward_geocode(places, OrbitPolyfitInterpolator.from_position(position), zero_doppler_distance=1e-4)
    times = solved.azimuth_time.values[0]
    slant_range = np.sqrt((solved.dem_distance.transpose("axis", "y", "x").values[:, 0] ** 2).sum(axis=0))
    return (times - first_line) / np.timedelta64(1, "ns") * 1e-9, slant_range


class _Solved(NamedTuple):
    """Polynomials in height at the nodes of a patch: coefficients [4, count, count], of ground range for each record."""

    seconds: np.ndarray
    ground: tuple[np.ndarray, ...]


@lru_cache(maxsize=16)
def _solve(annotation: Annotation, patch: Patch) -> _Solved:
    """Return seconds and ground ranges of a patch."""
    lon, lat = patch.nodes_in("EPSG:4326")
    share = (1 - np.cos(np.pi * np.arange(4) / 3)) / 2
    heights = _HEIGHTS_M[0] + np.ptp(_HEIGHTS_M) * share
    shape = (4, *lon.shape)
    seconds, slant_range = radar_coordinates(
        annotation.orbit,
        annotation.first_line,
        np.broadcast_to(lon, shape).ravel(),
        np.broadcast_to(lat, shape).ravel(),
        np.broadcast_to(heights[:, None, None], shape).ravel(),
    )
    records = annotation.ground_range
    ground = [
        np.polynomial.polynomial.polyval(slant_range - sr0, coefficients)
        for sr0, coefficients in zip(records.sr0, records.coefficients, strict=True)
    ]
    to_powers = np.linalg.inv(np.vander(2 * share - 1, increasing=True))

    def polynomials(values: np.ndarray) -> np.ndarray:
        result: np.ndarray = np.tensordot(to_powers, values.reshape(shape), axes=1)
        return result

    return _Solved(polynomials(seconds), tuple(polynomials(values) for values in ground))


def _between_records(seconds: np.ndarray, times: np.ndarray, ground: Callable[[int], np.ndarray]) -> np.ndarray:
    """Return ground ranges at ``seconds`` [H, W], linear in time between records at ``times`` [N], constant beyond them.

    ``ground(k)`` gives [H, W] for record k; it is asked for the records around these times only.
    """
    if np.isnan(seconds).all():
        return seconds
    first = max(0, int(np.searchsorted(times, np.nanmin(seconds), side="right")) - 1)
    last = min(len(times) - 1, int(np.searchsorted(times, np.nanmax(seconds), side="left")))
    result = ground(min(first, len(times) - 1))
    lower = result
    for index in range(first, last):
        upper = ground(index + 1)
        share = np.clip((seconds - times[index]) / (times[index + 1] - times[index]), 0, 1)
        result = result + (upper - lower) * share
        lower = upper
    return result


def _earth_fixed(lon: np.ndarray, lat: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Return geocentric coordinates [3, N] in meters of places in degrees and meters over WGS84."""
    eccentricity2 = _FLATTENING * (2 - _FLATTENING)
    phi, lam = np.radians(lat), np.radians(lon)
    normal = _RADIUS_M / np.sqrt(1 - eccentricity2 * np.sin(phi) ** 2)
    across = (normal + height) * np.cos(phi)
    return np.stack([
        across * np.cos(lam), across * np.sin(lam), (normal * (1 - eccentricity2) + height) * np.sin(phi)
    ])  # fmt: skip
