"""Native pixels warped once onto a grid, by window and in bounded memory.

A grid is warped in fixed blocks of ``BLOCK_PX`` pixels, counted from its origin, whatever windows are asked for. So a window's
content depends neither on other windows nor on how many processes share the work. Where pixels coincide they are copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.warp import reproject

from c2seg.errors import DataError, one_line
from c2seg.products.base import Kernel, Warped
from c2seg.products.masking import excluded
from c2seg.products.native import NativeBand, NativeMask, Placement
from c2seg.products.placing import native_window, placed_at, same_pixels
from c2seg.raster import GDAL_ERRORS
from c2seg.types import Grid, Window

__all__ = ["BLOCK_PX", "COARSER", "warp_arrays", "warp_bands", "warp_masks"]

BLOCK_PX = 512
COARSER = 1.5
"""From this many native pixels for each target pixel along a side, pixels are averages instead of interpolated."""
_TOLERANCE_PX = 0.01
"""Error of GDAL's approximated mapping between CRS, in native pixels."""
_MOST_BANDS = 16
_HALF = 0.5


def warp_bands(
    bands: Sequence[NativeBand],
    grid: Grid,
    window: Window,
    kernel: Kernel = "bilinear",
    masks: Sequence[NativeMask] = (),
) -> Warped:
    """Return bands warped to a window of a grid: values float32 [C, H, W], validity bool [H, W], 0 where invalid.

    A pixel is valid if all its bands are (the nearest native pixel, or at least half of those averaged) and no mask excludes
    it. Bands may have different native grids. The window may extend beyond the grid. Raises DataError for damaged files.
    """
    values = np.zeros((len(bands), window.height, window.width), np.float32)
    valid = np.ones((window.height, window.width), bool)
    for numbers in _together(bands):
        group = [bands[number] for number in numbers]
        part = _warp_group(group, grid, window, kernel)
        valid &= part.valid.all(axis=0)
        for number, band, layer in zip(numbers, group, part.values, strict=True):
            values[number] = layer
            if band.stored_as == "linear" and (band.scale, band.offset) != (1.0, 0.0):
                values[number] *= np.float32(band.scale)
                values[number] += np.float32(band.offset)
    if masks and valid.any():
        valid &= ~warp_masks(masks, grid, window)
    np.nan_to_num(values, copy=False, nan=0, posinf=0, neginf=0)
    values[:, ~valid] = 0
    return Warped(values, valid)


def warp_masks(masks: Sequence[NativeMask], grid: Grid, window: Window) -> np.ndarray:
    """Return where masks exclude pixels, bool [H, W]: by the nearest native pixel, or at least half of those averaged."""
    result = np.zeros((window.height, window.width), bool)
    for mask in masks:
        for block, inner, outer in _blocks(grid, window):
            target = grid.crop(block)
            area = native_window(mask.place, target)
            if area is None:
                continue
            inside, ratio = area
            hit = excluded(mask, inside)
            if not hit.any():
                continue
            layer = _reprojected(hit[None].astype(np.float32), mask.place, inside, target, _fitting(ratio, "nearest"))
            result[outer.slices] |= (layer[0] >= _HALF)[inner.slices]
    return result


def warp_arrays(
    values: np.ndarray, valid: np.ndarray, place: Placement, inside: Window, target: Grid, kernel: Kernel, ratio: float
) -> tuple[np.ndarray, np.ndarray]:
    """Warp native arrays to a target grid: ``values`` float32 [C, h, w] of the native window ``inside``, validity alike.

    ``ratio``: native pixels for each target pixel (see ``native_window``). Returns float32 [C, H, W] and bool [C, H, W].
    """
    resampling = _fitting(ratio, kernel)
    whole = bool(valid.all())
    warped = _reprojected(values if whole else np.where(valid, values, np.nan), place, inside, target, resampling)
    good = np.isfinite(warped)
    if not whole:
        how = Resampling.average if resampling == Resampling.average else Resampling.nearest
        good &= _reprojected(valid.astype(np.float32), place, inside, target, how) >= _HALF
    return warped, good


@dataclass(frozen=True)
class _Group:
    """Values float32 [C, H, W] and validity bool [C, H, W]."""

    values: np.ndarray
    valid: np.ndarray


def _warp_group(bands: Sequence[NativeBand], grid: Grid, window: Window, kernel: Kernel) -> _Group:
    """Warp bands of one source on one native grid."""
    result = _Group(
        np.zeros((len(bands), window.height, window.width), np.float32),
        np.zeros((len(bands), window.height, window.width), bool),
    )
    first = same_pixels(bands[0].place, grid)
    if first is not None:
        place = bands[0].place
        native = window.shift(*first).intersect(Window(0, 0, place.height, place.width))
        if not native.is_empty:
            outer = native.shift(-first[0] - window.row, -first[1] - window.col)
            values, valid = _stored(bands, native)
            result.values[:, *outer.slices], result.valid[:, *outer.slices] = values, valid
        return result
    for block, inner, outer in _blocks(grid, window):
        target = grid.crop(block)
        area = native_window(bands[0].place, target)
        if area is None:
            continue
        inside, ratio = area
        values, valid = _stored(bands, inside)
        if not valid.any():
            continue
        warped, good = warp_arrays(values, valid, bands[0].place, inside, target, kernel, ratio)
        result.values[:, *outer.slices] = warped[:, *inner.slices]
        result.valid[:, *outer.slices] = good[:, *inner.slices]
    return result


def _stored(bands: Sequence[NativeBand], window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Return stored numbers as float32 [C, H, W], linear, and which are valid."""
    stored = bands[0].source.read([band.index for band in bands], window)
    values = stored.astype(np.float32)
    valid = np.isfinite(values) if stored.dtype.kind == "f" else np.ones(values.shape, bool)
    for number, band in enumerate(bands):
        for nodata in band.nodata:
            valid[number] &= stored[number] != np.asarray(nodata).astype(stored.dtype)
        if band.stored_as != "linear":
            values[number] = _power(values[number] * np.float32(band.scale) + np.float32(band.offset), band.stored_as)
        if band.no_power:
            valid[number] &= values[number] > 0
    return values, valid


def _power(values: np.ndarray, stored_as: str) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        result: np.ndarray = np.power(np.float32(10), values / np.float32(10)) if stored_as == "dB" else values * values
    return result


def _together(bands: Sequence[NativeBand]) -> Iterator[list[int]]:
    """Yield the numbers of bands that are read and warped together: of one source on one grid, a few at a time."""
    for _, run in groupby(range(len(bands)), key=lambda number: (bands[number].source, bands[number].place)):
        numbers = list(run)
        for start in range(0, len(numbers), _MOST_BANDS):
            yield numbers[start : start + _MOST_BANDS]


def _blocks(grid: Grid, window: Window) -> Iterator[tuple[Window, Window, Window]]:
    """Yield the fixed blocks that a window touches, with the part of each that lies in the window, from the block's and
    from the window's first pixel.
    """
    for row in range(window.row // BLOCK_PX, -(-window.row_end // BLOCK_PX)):
        for col in range(window.col // BLOCK_PX, -(-window.col_end // BLOCK_PX)):
            block = Window(row * BLOCK_PX, col * BLOCK_PX, BLOCK_PX, BLOCK_PX)
            part = block.intersect(window)
            yield block, part.shift(-block.row, -block.col), part.shift(-window.row, -window.col)


def _fitting(ratio: float, kernel: Kernel) -> Resampling:
    return Resampling.average if ratio >= COARSER else Resampling[kernel]


def _reprojected(
    values: np.ndarray, place: Placement, inside: Window, target: Grid, resampling: Resampling
) -> np.ndarray:
    """Return float32 [C, H, W] on the target; NaN where there is nothing. NaN among the values is nodata, by band."""
    result = np.full((len(values), target.height, target.width), np.nan, np.float32)
    options: dict[str, Any] = {"UNIFIED_SRC_NODATA": "NO"}
    if resampling != Resampling.average:
        options |= {"XSCALE": "1", "YSCALE": "1"}  # GDAL would estimate them, a little differently in every block
    try:
        with rasterio.Env():
            reproject(
                np.ascontiguousarray(values), result, dst_transform=target.transform, dst_crs=CRS.from_wkt(str(target.crs)),
                src_nodata=np.nan, dst_nodata=np.nan, resampling=resampling, num_threads=1, tolerance=_TOLERANCE_PX,
                **placed_at(place, inside), **options,
            )  # fmt: skip
    except GDAL_ERRORS as error:
        raise DataError(f"pixels cannot be warped to the grid: {one_line(error.__cause__ or error)}") from error
    return result
