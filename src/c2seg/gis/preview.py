"""The preview of a map: a PNG with title, legend, scale bar and north arrow; and the legend by itself."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from c2seg.gis.drawing import INK, MUTED, GroundScale, Key, color_pixels, font, north_angle, save_png
from c2seg.legend import Legend
from c2seg.raster import open_raster
from c2seg.types import Grid

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

__all__ = ["write_legend_image", "write_preview"]

_MAP_PX = 1024
"""Longest side of the map in the picture."""
_LEAST_PX = 360
_MARGIN, _TEXT, _HEAD = 24, 18, 30
_LINE = round(1.6 * _TEXT)


@dataclass(frozen=True)
class _Picture:
    """The map as it is drawn: colors uint8 [H, W, 3], the ids in it, meters of a pixel of the picture."""

    colors: np.ndarray
    ids: frozenset[int]
    pixel_m: float


def write_preview(
    path: Path, source: Path, grid: Grid, legend: Legend, palette: str = "default", title: str = "Land cover"
) -> None:
    """Write a PNG of the map at ``source``: its longer side takes 360 to 1024 pixels, the legend stands beside it.

    Pixels are square on the ground. What has no class is striped. The legend lists the classes that the picture shows.
    """
    from PIL import Image, ImageDraw

    scale = GroundScale.of(grid)
    picture = _picture(source, grid, scale, legend, palette)
    keys = _keys(legend, palette, picture.ids)
    letters, head = font(_TEXT), font(_HEAD)
    height, width = picture.colors.shape[:2]
    legend_px = max(key.width(letters, _TEXT) for key in keys)
    name = _fitted(title, head, width + legend_px + _MARGIN)
    above, below = _MARGIN + _HEAD + 14, 64
    total = (
        3 * _MARGIN + width + legend_px,
        max(above + height + below, above + len(keys) * _LINE + _MARGIN),
    )
    image = Image.new("RGB", total, "white")
    draw = ImageDraw.Draw(image)
    draw.text((_MARGIN, _MARGIN), name, fill=INK, font=head, anchor="lt")
    image.paste(Image.fromarray(picture.colors), (_MARGIN, above))
    draw.rectangle((_MARGIN - 1, above - 1, _MARGIN + width, above + height), outline=MUTED)
    for line, key in enumerate(keys):
        key.draw(draw, 2 * _MARGIN + width, above + line * _LINE, letters, _TEXT)
    _scale_bar(draw, scale, picture.pixel_m, (_MARGIN, above + height + 14), width)
    if (angle := north_angle(grid)) is not None:
        _north_arrow(draw, (_MARGIN + width - 18, above + height + 34), angle)
    save_png(image, path)


def write_legend_image(path: Path, legend: Legend, palette: str = "default") -> None:
    """Write a PNG of all classes of a legend, in columns of at most 20."""
    from PIL import Image, ImageDraw

    keys = _keys(legend, palette, {*legend.ids, 0})
    letters = font(_TEXT)
    rows = min(20, len(keys))
    columns = [keys[first : first + rows] for first in range(0, len(keys), rows)]
    widths = [max(key.width(letters, _TEXT) for key in column) + _MARGIN for column in columns]
    image = Image.new("RGB", (_MARGIN + sum(widths), 2 * _MARGIN + rows * _LINE - (_LINE - _TEXT)), "white")
    draw = ImageDraw.Draw(image)
    for number, column in enumerate(columns):
        for line, key in enumerate(column):
            key.draw(draw, _MARGIN + sum(widths[:number]), _MARGIN + line * _LINE, letters, _TEXT)
    save_png(image, path)


def _picture(source: Path, grid: Grid, scale: GroundScale, legend: Legend, palette: str) -> _Picture:
    """Read the map at the picture's size: samples of it, or whole pixels several times as large."""
    longest = max(grid.height * scale.y_m, grid.width * scale.x_m)
    pixel_m = max(longest / _MAP_PX, min(scale.x_m, scale.y_m, longest / _LEAST_PX))
    size = [max(1, round(length / pixel_m)) for length in (grid.height * scale.y_m, grid.width * scale.x_m)]
    shape = [min(side, pixels) for side, pixels in zip(size, (grid.height, grid.width), strict=True)]
    with open_raster(source) as dataset:
        ids = dataset.read(1, out_shape=tuple(shape))
    rows, columns = (np.arange(side) * read // side for side, read in zip(size, shape, strict=True))
    shown = ids[rows][:, columns]
    return _Picture(color_pixels(shown, legend, palette), frozenset(np.unique(shown).tolist()), pixel_m)


def _keys(legend: Legend, palette: str, shown: Collection[int]) -> list[Key]:
    colors = legend.colors(palette)
    keys = [Key(item.name, colors[item.id]) for item in legend.classes if item.id in shown]
    return keys + ([Key("no data", None)] if set(shown) - set(legend.ids) or not keys else [])


def _fitted(text: str, letters: Any, width: float) -> str:
    """Return the text, cut where it is too wide."""
    while len(text) > 2 and letters.getlength(text) > width:
        text = text[:-2].rstrip() + "…"
    return text


def _scale_bar(draw: ImageDraw, scale: GroundScale, pixel_m: float, at: tuple[int, int], width: int) -> None:
    length, text = scale.bar(pixel_m, 0.35 * width)
    x, y = at
    for part, fill in enumerate((INK, "#ffffff")):
        draw.rectangle((x + part * length / 2, y, x + (part + 1) * length / 2, y + 8), fill=fill, outline=INK)
    draw.text((x, y + 14), text, fill=INK, font=font(16), anchor="lt")


def _north_arrow(draw: ImageDraw, center: tuple[int, int], angle: float) -> None:
    """Draw an arrow of 40 pixels with an N at its point, ``angle`` degrees clockwise from the top."""
    turn = math.radians(angle)

    def place(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        return [
            (center[0] + x * math.cos(turn) - y * math.sin(turn), center[1] + x * math.sin(turn) + y * math.cos(turn))
            for x, y in points
        ]

    draw.polygon(place([(0, -4), (9, 22), (0, 16)]), fill=INK, outline=INK)
    draw.polygon(place([(0, -4), (-9, 22), (0, 16)]), fill="#ffffff", outline=INK)
    draw.text(place([(0, -13)])[0], "N", fill=INK, font=font(15), anchor="mm")
