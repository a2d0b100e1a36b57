"""Image chips around points: squares of a raster on any grid, one stretch for all, as small pictures.

Axes: C band, H and W rows and columns of a chip, n point. Chips are read one by one; memory does not follow their number.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from affine import Affine

from c2seg.raster import RasterFile, RasterSource, read_boundless
from c2seg.types import Grid, Window

__all__ = [
    "ChipLayer",
    "ChipScale",
    "Stretch",
    "chip_scales",
    "encode_chip",
    "measure_stretch",
    "placement",
    "read_chip",
]

MOST_PX = 512
"""Side of a chip at most, in pixels of the picture."""
_NEAR_PX, _NEAR_M, _FAR = (
    33,
    100.0,
    4,
)  # the near chip: at least so many map pixels and meters; the far one: so many times more
_STRETCH_CHIPS, _STRETCH_PX = 200, 24  # chips that the stretch is measured on, and pixels along their sides
_PNG_PX = 64  # chips up to this side are stored without loss
_QUALITIES = (85, 70, 50, 30)


@dataclass(frozen=True)
class ChipScale:
    """A size of chips: the side in pixels of the map (odd, so that the point is the middle one), and in words."""

    px: int
    text: str


@dataclass(frozen=True)
class ChipLayer:
    """Bands of a raster that make a picture: one (gray), two and their difference, or red, green, blue.

    ``is_display``: the values are colors 0..255 already. ``mask`` is non-zero where pixels are valid.
    """

    title: str
    raster: RasterSource
    grid: Grid
    mask: RasterSource | None = None
    is_display: bool = False


@dataclass(frozen=True)
class Stretch:
    """Values that become black and white, float64 [C] each."""

    low: np.ndarray
    high: np.ndarray

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return uint8 [H, W, 4] of values [C, H, W]: red, green, blue and opacity, which is 0 where a value is NaN."""
        valid = np.isfinite(values).all(axis=0)
        span = np.where(self.high > self.low, self.high - self.low, 1.0)
        scaled = (np.where(valid, values, 0.0) - self.low[:, None, None]) / span[:, None, None]
        scaled[self.high <= self.low] = 0.5
        colors = np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
        colors = colors if len(colors) == 3 else np.repeat(colors[:1], 3, axis=0)
        return np.concatenate([colors, np.where(valid, 255, 0).astype(np.uint8)[None]]).transpose(1, 2, 0)


def chip_scales(grid: Grid) -> tuple[ChipScale, ChipScale]:
    """Return the near and the far scale of a map: 33 pixels or 100 m, whichever is more, and four times that."""
    side_m = grid.pixel_side_m()
    near = _NEAR_PX if side_m is None else max(_NEAR_PX, math.ceil(_NEAR_M / side_m))
    sizes = (near | 1, (_FAR * near) | 1)
    return tuple(ChipScale(px, _across(px, side_m)) for px in sizes)  # type: ignore[return-value]


def placement(grid: Grid, layer: ChipLayer, row: int, col: int, side: int) -> Affine | None:
    """Return the affine map from shares 0..1 of a chip (x right, y down) to columns and rows of a layer.

    The chip has ``side`` pixels of the map around the center of pixel (row, col). In another CRS the map is that of the three
    transformed corners, exact to a part of a pixel at such sizes. None where it cannot be transformed.
    """
    first = Affine.translation(col + 0.5 - side / 2, row + 0.5 - side / 2) @ Affine.scale(side)
    ground = grid.transform @ first
    if grid.crs is None or layer.grid.crs is None or _same_crs(grid.crs, layer.grid.crs):
        same: Affine = ~layer.grid.transform @ ground
        return same
    from rasterio.errors import RasterioError
    from rasterio.warp import transform

    corners = [ground @ point for point in ((0, 0), (1, 0), (0, 1))]
    xs, ys = zip(*corners, strict=True)
    try:
        x, y = transform(grid.crs, layer.grid.crs, list(xs), list(ys))
    except RasterioError:
        return None
    if not np.isfinite([*x, *y]).all():
        return None
    there = Affine(x[1] - x[0], x[2] - x[0], x[0], y[1] - y[0], y[2] - y[0], y[0])
    placed: Affine = ~layer.grid.transform @ there
    return placed


def read_chip(layer: ChipLayer, place: Affine, most_px: int = MOST_PX) -> np.ndarray | None:
    """Return a chip float32 [C, H, W], NaN where it is not valid; None where no pixel is.

    It has the raster's own pixels, or ``most_px`` along its side as means of them where it would have more.
    """
    columns, rows = math.hypot(place.a, place.d), math.hypot(place.b, place.e)
    side = int(max(1, min(most_px, math.ceil(max(columns, rows) - 1e-6))))
    shares = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(shares, shares)
    col = place.a * x + place.b * y + place.c
    row = place.d * x + place.e * y + place.f
    window = Window(
        math.floor(row.min()), math.floor(col.min()),
        math.floor(row.max()) - math.floor(row.min()) + 1, math.floor(col.max()) - math.floor(col.min()) + 1,
    )  # fmt: skip
    if window.intersect(Window(0, 0, layer.raster.height, layer.raster.width)).is_empty:
        return None
    factor = max(1, int(max(columns, rows) / side + 0.25))
    values = _read(layer, window, factor)
    lines = ((row - window.row) / factor).astype(np.int64).clip(0, values.shape[1] - 1)
    columns_of = ((col - window.col) / factor).astype(np.int64).clip(0, values.shape[2] - 1)
    chip: np.ndarray = values[:, lines, columns_of]
    return chip if np.isfinite(chip).all(axis=0).any() else None


def measure_stretch(layer: ChipLayer, places: Sequence[Affine | None]) -> Stretch:
    """Return the 2nd and 98th percentile of each band over some of the chips; 0 and 255 for a layer of colors."""
    if layer.is_display:
        return Stretch(np.zeros(3), np.full(3, 255.0))
    step = max(1, len(places) // _STRETCH_CHIPS)
    parts = []
    for place in places[::step]:
        chip = None if place is None else read_chip(layer, place, _STRETCH_PX * 4)
        if chip is not None:
            every = max(1, chip.shape[1] // _STRETCH_PX)
            pixels = chip[:, ::every, ::every].reshape(len(chip), -1)
            parts.append(pixels[:, np.isfinite(pixels).all(axis=0)])
    if not parts or not sum(part.shape[1] for part in parts):
        return Stretch(np.zeros(1), np.ones(1))
    low, high = np.percentile(np.concatenate(parts, axis=1), (2, 98), axis=1)
    return Stretch(low, high)


def encode_chip(colors: np.ndarray, most_bytes: int) -> str:
    """Return a data URI of uint8 [H, W, 4] with at most ``most_bytes`` of picture: PNG if small, else WebP.

    What would be larger gets a lower quality, then half the side.
    """
    from PIL import Image

    image = Image.fromarray(colors)
    if max(image.size) <= _PNG_PX:
        content = _encoded(image, "PNG", optimize=True)
        if len(content) <= most_bytes:
            return _uri("png", content)
    while True:
        for quality in _QUALITIES:
            content = _encoded(image, "WEBP", quality=quality)
            if len(content) <= most_bytes or max(image.size) <= 8:
                return _uri("webp", content)
        image = image.resize((max(1, image.width // 2), max(1, image.height // 2)), Image.Resampling.BOX)


def _read(layer: ChipLayer, window: Window, factor: int) -> np.ndarray:
    """Return float32 [C, H, W] of a window; with a factor, means over squares of so many pixels."""
    if factor > 1:
        height, width = -(-window.height // factor), -(-window.width // factor)
        window = Window(window.row, window.col, height * factor, width * factor)
    raw, inside = read_boundless(layer.raster, window)
    values = raw.astype(np.float32)
    valid = inside & np.isfinite(values).all(axis=0)
    if (nodata := layer.raster.nodata) is not None and not math.isnan(nodata):
        valid &= (raw != nodata).any(axis=0) if layer.is_display else (raw != nodata).all(axis=0)
    if layer.mask is not None:
        valid &= read_boundless(layer.mask, window)[0][0] != 0
    values[:, ~valid] = np.nan
    if factor == 1:
        return values
    cells = values.reshape(len(values), height, factor, width, factor)
    known = np.isfinite(cells)
    counts = known.sum(axis=(2, 4))
    sums = np.where(known, cells, 0).sum(axis=(2, 4))
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan).astype(np.float32)


def _encoded(image: object, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)  # type: ignore[attr-defined]
    return stream.getvalue()


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _across(px: int, side_m: float | None) -> str:
    if side_m is None:
        return f"{px} pixels across"
    meters = px * side_m
    return f"{meters / 1000:.2g} km across" if meters >= 1000 else f"{meters:.0f} m across"


def _same_crs(one: str, two: str) -> bool:
    from rasterio.crs import CRS

    return bool(CRS.from_wkt(one) == CRS.from_wkt(two))


def display_layer(raster: RasterFile, title: str) -> ChipLayer:
    """Return a picture file, such as an orthophoto, as a layer: its first three bands, or the first one."""
    bands = raster.numbers[:3] if raster.count >= 3 else raster.numbers[:1]
    picked = RasterFile(raster.path, bands, raster.subdataset)
    return ChipLayer(title, picked, raster.grid, picked.mask, raster.dtype == np.uint8)
