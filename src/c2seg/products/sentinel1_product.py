"""Sentinel-1 GRD products: calibrated backscatter in dB on a grid.

Each pixel: DN, thermal noise, calibration, multilook, speckle filter, all in linear power and in the image's own geometry; then
one bilinear sample at the pixel's place in the image (``sentinel1_geocoding``), then dB. Tiles of 512 x 512 pixels from the
grid's origin are always computed whole, so that no window changes a byte.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import numpy as np

from c2seg.errors import DataError
from c2seg.products.base import ProductBand, ProductFacts, ProductOptions, Warped
from c2seg.products.coordinates import Patch, block_around, sample_bilinear
from c2seg.products.elevation import Elevation
from c2seg.products.sentinel1_annotation import Annotation, TiePoints
from c2seg.products.sentinel1_facts import FLOOR_DB, notes_of, processing_of
from c2seg.products.sentinel1_geocoding import Geometry, OrbitGeometry, TiePointGeometry, image_places
from c2seg.products.sentinel1_image import GrdImage
from c2seg.products.sentinel1_safe import ImageFiles, Manifest, Safe
from c2seg.products.speckle import filter_speckle
from c2seg.types import Grid, Window

__all__ = ["TILE_PX", "Sentinel1Product"]

TILE_PX = 512
_NEAR_DEGREES = 0.5


@dataclass(frozen=True, eq=False)
class Sentinel1Product:
    """An open GRD product."""

    safe: Safe
    image_files: tuple[ImageFiles, ...]
    images: tuple[GrdImage, ...]
    manifest: Manifest
    elevation: Elevation | None
    options: ProductOptions

    @property
    def annotation(self) -> Annotation:
        """The annotation of the first image; geometry is the same in all."""
        return self.images[0].annotation

    @property
    def facts(self) -> ProductFacts:
        """What the product says of itself, and what is done to it."""
        first = self.annotation
        return ProductFacts(
            kind="sar",
            sensor=f"Sentinel-1{first.mission[-1:]}",
            product=self.safe.name,
            unit="dB",
            level=f"{first.mode} GRD",
            acquired=datetime.fromtimestamp(first.first_line.astype("datetime64[us]").astype(int) / 1e6, UTC),
            processing=processing_of(self.images[0], self.manifest, self.elevation, self.options),
            files=self._files(),
            notes=notes_of(self.safe, self.images[0], self.manifest, self.elevation),
        )

    @property
    def bands(self) -> tuple[ProductBand, ...]:
        """One band a polarization, co-polarized first."""
        return tuple(ProductBand(item.polarization, item.polarization.lower()) for item in self.image_files)

    @property
    def resolution_m(self) -> float:
        """Spacing of the pixels, in meters."""
        return min(self.annotation.range_spacing_m, self.annotation.azimuth_spacing_m)

    @property
    def crs(self) -> str | None:
        """None: pixels are in the sensor's geometry."""
        return None

    @property
    def bounds_lonlat(self) -> tuple[float, float, float, float]:
        """West, south, east, north of the tie points, in degrees."""
        points = self.annotation.points
        west, east = (float(value) for value in (points.continuous_lon.min(), points.continuous_lon.max()))
        return west, float(points.lat.min()), east - 360 if east > 180 else east, float(points.lat.max())

    @property
    def geometry(self) -> Geometry:
        """How places in the image are computed."""
        if self.elevation is None:
            return TiePointGeometry(self.annotation.points)
        return OrbitGeometry(self.annotation, self.elevation, TILE_PX)

    def multilook(self, grid: Grid) -> int:
        """Return how many pixels along each axis are averaged for a grid: as many as fit into one of its pixels."""
        if self.options.multilook is not None:
            return self.options.multilook
        return max(1, math.floor((grid.pixel_side_m() or 1.0) / self.resolution_m + 0.5))

    def warp(self, grid: Grid, window: Window) -> Warped:
        """Return backscatter in dB, float32 [C, H, W], not below -50 dB, and validity [H, W].

        Pixels without data, in the border, or without a height are invalid. Raises DataError for a damaged file, and if the
        elevation model does not cover the part of the grid in the scene.
        """
        if self.elevation is not None:
            _check_covered(self.elevation, self.annotation, grid)
        values = np.zeros((len(self.images), window.height, window.width), np.float32)
        valid = np.zeros((window.height, window.width), bool)
        for tile in _tiles(window):
            if not _near(self.annotation.points, grid, tile):
                continue
            power = self._tile(grid, tile)
            part = tile.intersect(window)
            inner, outer = part.shift(-tile.row, -tile.col).slices, part.shift(-window.row, -window.col).slices
            good = np.isfinite(power[:, *inner]).all(axis=0)
            values[:, *outer] = np.where(good, _decibel(power[:, *inner]), 0)
            valid[outer] = good
        return Warped(values, valid)

    def _tile(self, grid: Grid, tile: Window) -> np.ndarray:
        """Return power [C, H, W] of a whole tile, NaN where invalid."""
        count = self.multilook(grid)
        size = self.options.speckle_px if self.options.speckle != "none" else 1
        line, pixel = self.geometry.locate(grid, tile)
        line, pixel = ((values - (count - 1) / 2) / count for values in (line, pixel))
        lines, pixels = -(-self.annotation.lines // count), -(-self.annotation.pixels // count)
        block = block_around(line, pixel, size // 2, lines, pixels)
        power = np.full((len(self.images), tile.height, tile.width), np.nan, np.float32)
        if block.is_empty:
            return power
        line -= block.row
        pixel -= block.col
        for index, image in enumerate(self.images):
            looked = filter_speckle(image.multilooked(block, count), self.options.speckle, size, image.looks(count))
            power[index] = sample_bilinear(looked, line, pixel)
        return power

    def _files(self) -> tuple[Path, ...]:
        names = [name for item in self.image_files for name in
                 (item.measurement, item.annotation, item.calibration, item.noise) if name]  # fmt: skip
        names += ["manifest.safe"] if "manifest.safe" in self.safe.names else []
        return (*self.safe.files(tuple(names)), *(self.elevation.files if self.elevation else ()))


def _tiles(window: Window) -> Iterator[Window]:
    for row in range(window.row // TILE_PX, -(-window.row_end // TILE_PX)):
        for col in range(window.col // TILE_PX, -(-window.col_end // TILE_PX)):
            yield Window(row * TILE_PX, col * TILE_PX, TILE_PX, TILE_PX)


def _near(points: TiePoints, grid: Grid, tile: Window) -> bool:
    """Return whether a tile is near the scene. Far from it other places have the same range and time, across the orbit."""
    lon, lat = Patch(grid, tile, 4).nodes_in("EPSG:4326")
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        return False
    if points.crosses_antimeridian:
        lon = np.where(lon < 0, lon + 360, lon)
    beside = (lon.max() < points.continuous_lon.min() - _NEAR_DEGREES) or (
        lon.min() > points.continuous_lon.max() + _NEAR_DEGREES
    )
    return not beside and lat.max() > points.lat.min() - _NEAR_DEGREES and lat.min() < points.lat.max() + _NEAR_DEGREES


def _decibel(power: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        result: np.ndarray = np.float32(10) * np.log10(np.maximum(power, np.float32(10 ** (FLOOR_DB / 10))))
    return result


@lru_cache(maxsize=8)
def _check_covered(elevation: Elevation, annotation: Annotation, grid: Grid) -> None:
    """Raise DataError if the elevation model does not cover the part of the grid that lies in the scene."""
    lon, lat = Patch(grid, grid.window, 64).nodes_in("EPSG:4326")
    known = np.isfinite(lon) & np.isfinite(lat)
    line, pixel = image_places(annotation.points, lon[known], lat[known])
    inside = (line >= 0) & (line < annotation.lines) & (pixel >= 0) & (pixel < annotation.pixels)
    share = elevation.share_covered(lon[known][inside], lat[known][inside])
    if share < 1:
        raise DataError(
            f"the elevation model {elevation.file.path} covers {100 * share:.0f} % of the area that lies in the scene; give "
            "one that covers all of it (`dem`), or a smaller area (`bounds`)"
        )
