"""Pictures of a scene: reads that never hold the scene, stretch, and encoding.

Axes: h, w display rows and columns (at most the scene's), C band. A display pixel is the scene's pixel under its
center for class ids, and the mean over its area for images.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from c2seg.data.city import Layer, Scene
from c2seg.data.composites import Composite
from c2seg.raster import RasterFile, RasterSource
from c2seg.types import Grid, Window

__all__ = ["Sampling", "encode_picture", "picture", "sample", "sample_ids", "sample_layer"]

_STRIP_BYTES = 64 << 20
_PNG_BYTES = 400_000


@dataclass(frozen=True)
class Sampling:
    """Display size of a scene: [h, w] pixels stand for its grid."""

    grid: Grid
    height: int
    width: int

    @classmethod
    def within(cls, grid: Grid, pixels: int) -> Sampling:
        """Return the sampling with at most ``pixels`` display pixels, never finer than the grid."""
        step = max(1.0, math.sqrt(grid.height * grid.width / pixels))
        return cls(grid, max(1, round(grid.height / step)), max(1, round(grid.width / step)))

    @property
    def step(self) -> float:
        """Pixels of the grid by display pixel, along a side."""
        return self.grid.height / self.height

    def axes(self, other: Grid) -> tuple[np.ndarray, np.ndarray]:
        """Return row [h] and column [w] of the pixels of ``other`` under the display pixels' centers.

        They lie outside ``other`` where it does not reach. Both grids have parallel axes.
        """
        rows = np.floor((np.arange(self.height) + 0.5) * self.grid.height / self.height) + 0.5
        cols = np.floor((np.arange(self.width) + 0.5) * self.grid.width / self.width) + 0.5
        relation = ~other.transform @ self.grid.transform
        return (
            np.floor(rows * relation.e + relation.f).astype(np.int64),
            np.floor(cols * relation.a + relation.c).astype(np.int64),
        )


def sample_ids(source: RasterFile, sampling: Sampling, *, outside: int = 0) -> np.ndarray:
    """Return uint8 [h, w]: the first band's values under the display pixels' centers.

    Every layer is sampled from full resolution at the same places, so that differences between layers are differences
    of the data (overviews of two files need not agree). Values that are no ids become 255; ``outside`` where the raster
    does not reach.
    """
    values, inside = sample(source, sampling.axes(source.grid), (0,))
    ids = values[0]
    if ids.dtype != np.uint8:
        whole = np.isfinite(ids) & (ids >= 0) & (ids <= 255)
        ids = np.where(whole, ids, 255).astype(np.uint8)
    return np.where(inside, ids, np.uint8(outside))


def sample(
    source: RasterSource, axes: tuple[np.ndarray, np.ndarray], bands: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return values [C, h, w] at the given rows and columns, and inside bool [h, w]; memory is bounded."""
    rows, cols = axes
    in_rows, in_cols = (rows >= 0) & (rows < source.height), (cols >= 0) & (cols < source.width)
    values = np.zeros((len(bands), len(rows), len(cols)), source.dtype)
    inside = in_rows[:, None] & in_cols
    where, columns = np.flatnonzero(in_rows), cols[in_cols]
    if not where.size or not columns.size:
        return values, inside
    first, last = int(columns[0]), int(columns[-1]) + 1
    height = max(1, _STRIP_BYTES // (source.count * (last - first) * source.dtype.itemsize))
    chosen = np.flatnonzero(in_cols)
    start = 0
    while start < len(where):
        top = int(rows[where[start]])
        stop = int(np.searchsorted(rows[where], top + height))
        part = source.read(Window(top, first, int(rows[where[stop - 1]]) + 1 - top, last - first))
        picked = part[list(bands)][:, rows[where[start:stop]] - top][:, :, columns - first]
        values[:, where[start] : where[stop - 1] + 1, chosen[0] : chosen[-1] + 1] = picked
        start = stop
    return values, inside


def picture(scene: Scene, composite: Composite, sampling: Sampling) -> np.ndarray:
    """Return uint8 [h, w, 4]: red, green, blue and opacity (0 where not valid).

    Each band is stretched between its 2nd and 98th percentile over the shown valid pixels; a constant band is mid-gray.
    """
    layer = scene.modality(composite.modality)
    values, valid = _read_image(layer, composite.bands, sampling)
    valid &= np.isfinite(values).all(axis=0)
    if scene.valid is not None:
        marks = sample_layer(scene.valid, sampling, (0,))[0][0]
        valid &= (marks != 0) & (marks != scene.valid.source.nodata)
    if composite.difference:
        values = np.concatenate([values, values[:1] - values[1:2]])
    channels = [_stretch(band, valid) for band in values]
    if len(channels) == 1:
        channels *= 3
    return np.stack([*channels, np.where(valid, 255, 0).astype(np.uint8)], axis=-1)


def _read_image(layer: Layer, bands: Sequence[int], sampling: Sampling) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(layer.source, RasterFile) and layer.source.declared_nodata is None and sampling.step > 1:
        return _read_averaged(layer.source, bands, sampling)
    values, inside = sample_layer(layer, sampling, bands)
    nodata = layer.source.nodata
    if nodata is not None and not math.isnan(nodata):
        inside &= (values != nodata).all(axis=0)
    if layer.mask is not None:
        inside &= sample_layer(replace(layer, source=layer.mask), sampling, (0,))[0][0] != 0
    return values.astype(np.float32), inside


def sample_layer(layer: Layer, sampling: Sampling, bands: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return values [C, h, w] of a scene's layer under the display pixels' centers, and inside bool [h, w]."""
    rows, cols = sampling.axes(sampling.grid)
    relation = layer.relation
    axes = ((rows - relation.row_offset) // relation.ratio, (cols - relation.col_offset) // relation.ratio)
    return sample(layer.source, axes, bands)


def _read_averaged(source: RasterFile, bands: Sequence[int], sampling: Sampling) -> tuple[np.ndarray, np.ndarray]:
    """Read the means over display pixels, from overviews where the file has them: float32 [C, h, w], valid [h, w]."""
    relation = ~source.grid.transform @ sampling.grid.transform
    down, right = sampling.grid.height / sampling.height, sampling.grid.width / sampling.width
    # Display rows and columns whose centers lie inside the source, and the source window that they cover.
    rows, cols = sampling.axes(source.grid)
    in_rows = np.flatnonzero((rows >= 0) & (rows < source.height))
    in_cols = np.flatnonzero((cols >= 0) & (cols < source.width))
    values = np.full((len(bands), sampling.height, sampling.width), np.nan, np.float32)
    valid = np.zeros((sampling.height, sampling.width), bool)
    if not in_rows.size or not in_cols.size:
        return values, valid
    top, bottom = (np.array([in_rows[0], in_rows[-1] + 1]) * down * relation.e + relation.f).clip(0, source.height)
    west, east = (np.array([in_cols[0], in_cols[-1] + 1]) * right * relation.a + relation.c).clip(0, source.width)
    read = source.read_means(bands, (top, west, bottom - top, east - west), (len(in_rows), len(in_cols)))
    place = np.ix_(np.arange(len(bands)), in_rows, in_cols)
    values[place] = read.filled(np.nan)
    valid[np.ix_(in_rows, in_cols)] = ~np.ma.getmaskarray(read).any(axis=0)
    return values, valid


def _stretch(band: np.ndarray, valid: np.ndarray) -> np.ndarray:
    shown = band[valid]
    if not shown.size:
        return np.zeros(band.shape, np.uint8)
    low, high = (float(v) for v in np.percentile(shown, (2, 98)))
    if high <= low:
        low, high = float(shown.min()), float(shown.max())
    if high <= low:
        return np.full(band.shape, 128, np.uint8)
    scaled = np.clip((np.where(valid, band, low) - low) * (255.0 / (high - low)), 0, 255)
    return np.asarray(np.rint(scaled), np.uint8)


def encode_picture(rgba: np.ndarray) -> str:
    """Return a data URI of uint8 [h, w, 4]: PNG while that is small, else WebP (both keep the opacity)."""
    from PIL import Image

    image = Image.fromarray(rgba)
    stream, kind = io.BytesIO(), "png"
    image.save(stream, "PNG", optimize=True)
    if stream.tell() > _PNG_BYTES:
        stream, kind = io.BytesIO(), "webp"
        image.save(stream, "WEBP", quality=85)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
