"""Images in a sensor's geometry that rational polynomials (RPC) place, orthorectified on an elevation model.

The polynomials are evaluated at every pixel of a grid, at its height over the ellipsoid. Pixels are read there: bilinear, or
means where the grid is coarser. A grid is warped in the fixed blocks of ``warping``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from c2seg.products.base import Kernel, ProductBand, ProductFacts, Warped
from c2seg.products.coordinates import Patch, block_around, sample_bilinear
from c2seg.products.elevation import Elevation
from c2seg.products.native import GdalFile
from c2seg.products.rpc_model import RpcModel
from c2seg.products.warping import BLOCK_PX, COARSER
from c2seg.types import Grid, Window

__all__ = ["RpcImage", "RpcProduct"]

_MOST_SAMPLES = 8


@dataclass(frozen=True)
class RpcImage:
    """An image with its RPC model: band numbers (from 1), which of the product's bands they are, scale and offset of each."""

    file: GdalFile
    model: RpcModel
    height: int
    width: int
    indexes: tuple[int, ...]
    places: tuple[int, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    nodata: float | None = None


@dataclass(frozen=True)
class RpcProduct:
    """Images placed by RPCs as a product. ``parts`` lie beside each other; each holds images that share the bands."""

    facts: ProductFacts
    bands: tuple[ProductBand, ...]
    parts: tuple[tuple[RpcImage, ...], ...]
    elevation: Elevation | None
    kernel: Kernel = "bilinear"
    crs: None = None

    @property
    def bounds_lonlat(self) -> tuple[float, float, float, float]:
        """West, south, east, north in degrees, at the height that the polynomials are centered on."""
        prints = [image.model.footprint(image.height, image.width) for part in self.parts for image in part]
        west, south, east, north = zip(*prints, strict=True)
        return min(west), min(south), max(east), max(north)

    @property
    def resolution_m(self) -> float:
        """Pixel size of the finest image in meters, from its footprint's area, to two digits."""
        return float(f"{min(_pixel_m(image) for part in self.parts for image in part):.2g}")

    def warp(self, grid: Grid, window: Window) -> Warped:
        """Return the pixels of a window of ``grid``; see ``Product.warp``."""
        values = np.zeros((len(self.bands), window.height, window.width), np.float32)
        valid = np.zeros((window.height, window.width), bool)
        for row in range(window.row // BLOCK_PX, -(-window.row_end // BLOCK_PX)):
            for col in range(window.col // BLOCK_PX, -(-window.col_end // BLOCK_PX)):
                block = Window(row * BLOCK_PX, col * BLOCK_PX, BLOCK_PX, BLOCK_PX)
                part = block.intersect(window)
                inner, outer = part.shift(-block.row, -block.col), part.shift(-window.row, -window.col)
                warped = self._block(grid, block, inner)
                values[:, *outer.slices], valid[outer.slices] = warped
        return Warped(values, valid)

    def _block(self, grid: Grid, block: Window, inner: Window) -> Warped:
        """Return a part of a fixed block. Its geometry is that of the whole block, so it does not depend on the part."""
        geometry = _geometry(grid, block, self.elevation, self.parts[0][0].model.height_m)
        values = np.full((len(self.bands), inner.height, inner.width), np.nan, np.float32)
        for part in self.parts:
            layer = np.full_like(values, np.nan)
            for image in part:
                _sample(image, geometry, inner, self.kernel, layer)
            hit = np.isfinite(layer).all(axis=0) & ~np.isfinite(values).all(axis=0)
            values[:, hit] = layer[:, hit]
        valid = np.asarray(np.isfinite(values).all(axis=0))
        values[:, ~valid] = 0
        return Warped(values, valid)


@dataclass(frozen=True, eq=False)
class _Geometry:
    """Longitude, latitude and height of the pixels of a block, float64 [H, W]; NaN where there is no height."""

    lon: np.ndarray
    lat: np.ndarray
    height: np.ndarray


def _geometry(grid: Grid, block: Window, elevation: Elevation | None, height_m: float) -> _Geometry:
    patch = Patch(grid, block)
    lon, lat = patch.nodes_in("EPSG:4326")
    down, across = patch.weights(block)
    lon = (lon - lon[0, 0] + 180) % 360 - 180 + lon[0, 0]  # no jump at 180 degrees
    heights = np.full((block.height, block.width), height_m) if elevation is None else elevation.heights(grid, block)
    return _Geometry(down @ lon @ across, down @ lat @ across, heights.astype(np.float64))


def _sample(image: RpcImage, geometry: _Geometry, inner: Window, kernel: Kernel, out: np.ndarray) -> None:
    """Write an image's values in a part of a block into its bands of ``out`` float32 [C, h, w]; NaN where it has none."""
    part = inner.slices
    rows, cols = image.model.pixels(geometry.lon[part], geometry.lat[part], geometry.height[part])
    inside = (rows > -1) & (rows < image.height) & (cols > -1) & (cols < image.width)
    if not inside.any():
        return
    rows, cols = np.where(inside, rows, np.nan), np.where(inside, cols, np.nan)
    ratio = _ratio(image, geometry.lon, geometry.lat)
    count = min(math.ceil(ratio), _MOST_SAMPLES) if ratio >= COARSER else 1
    block = block_around(rows, cols, math.ceil(ratio) + 1, image.height, image.width)
    if block.is_empty:
        return
    shifts = [(k + 0.5) / count - 0.5 for k in range(count)] if kernel != "nearest" else [0.0]
    for start in range(0, len(image.indexes), 16):
        stored = image.file.read(image.indexes[start : start + 16], block)
        for number, layer in enumerate(stored, start):
            values = layer.astype(np.float32)
            if image.nodata is not None:
                values[layer == image.nodata] = np.nan
            mean = _mean(values, rows - block.row, cols - block.col, shifts, ratio, nearest=kernel == "nearest")
            out[image.places[number]] = mean * np.float32(image.scales[number]) + np.float32(image.offsets[number])


def _mean(
    values: np.ndarray, rows: np.ndarray, cols: np.ndarray, shifts: list[float], ratio: float, *, nearest: bool
) -> np.ndarray:
    """Return means of bilinear values at places spread over a pixel of ``ratio`` native pixels a side."""
    if nearest:
        return sample_bilinear(values, np.round(rows), np.round(cols))
    total = np.zeros(rows.shape, np.float32)
    for down in shifts:
        for across in shifts:
            total += sample_bilinear(values, rows + down * ratio, cols + across * ratio)
    return total / np.float32(len(shifts) ** 2)


def _ratio(image: RpcImage, lon: np.ndarray, lat: np.ndarray) -> float:
    """Return native pixels for each pixel of the grid along a side, where a block is nearest to the image's middle."""
    middle = (np.abs((lon - image.model.offsets[3] + 180) % 360 - 180) + np.abs(lat - image.model.offsets[2])).argmin()
    row, col = (min(int(k), length - 2) for k, length in zip(divmod(middle, lon.shape[1]), lon.shape, strict=True))
    rows, cols = image.model.pixels(
        lon[row : row + 2, col : col + 2], lat[row : row + 2, col : col + 2], np.full((2, 2), image.model.height_m)
    )
    down = math.hypot(float(rows[1, 0] - rows[0, 0]), float(cols[1, 0] - cols[0, 0]))
    across = math.hypot(float(rows[0, 1] - rows[0, 0]), float(cols[0, 1] - cols[0, 0]))
    ratio = math.sqrt(down * across)
    return ratio if math.isfinite(ratio) else 1.0


def _pixel_m(image: RpcImage) -> float:
    west, south, east, north = image.model.footprint(image.height, image.width)
    rows, cols = image.model.pixels(
        np.array([west, west, east]), np.array([north, south, north]), np.full(3, image.model.height_m)
    )
    meters = 111_195.0
    down = (north - south) * meters / math.hypot(float(rows[1] - rows[0]), float(cols[1] - cols[0]))
    wide = (east - west) * meters * math.cos(math.radians((north + south) / 2))
    return float((down * wide / math.hypot(float(rows[2] - rows[0]), float(cols[2] - cols[0]))) ** 0.5)
