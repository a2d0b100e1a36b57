"""Parts of pictures of maps: fonts, keys of classes, scale bar, north arrow, the map itself. Drawn with Pillow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from c2seg.legend import Legend
from c2seg.types import Grid

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

__all__ = ["INK", "MUTED", "GroundScale", "Key", "color_pixels", "font", "north_angle", "save_png"]

INK, MUTED = "#1b2329", "#57646e"
_HATCH = (255, 255, 255), (214, 219, 223)  # no data: stripes, which no class has
_METERS_A_DEGREE = 6371008.8 * math.radians(1.0)
_DIGITS = (5, 2, 1)


def font(size: int) -> Any:
    """Return a font: DejaVu Sans if matplotlib is installed, which has more letters, else that of Pillow."""
    from PIL import ImageFont

    try:
        spec = find_spec("matplotlib")
    except ImportError:  # a finder that forbids it
        spec = None
    path = Path(spec.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf" if spec and spec.origin else None
    return ImageFont.truetype(str(path), size) if path and path.is_file() else ImageFont.load_default(size)


def save_png(image: Any, path: Path) -> None:
    """Write a PNG that is known as ours."""
    from PIL.PngImagePlugin import PngInfo

    made_by = PngInfo()
    made_by.add_text("Software", "c2seg")
    image.save(path, "PNG", pnginfo=made_by)


def color_pixels(ids: np.ndarray, legend: Legend, palette: str = "default") -> np.ndarray:
    """Return uint8 [H, W, 3]: the colors of ids [H, W]; what is no class of the legend is striped."""
    table = np.zeros((256, 3), np.uint8)
    known = np.zeros(256, bool)
    for value, color in legend.colors(palette).items():
        table[value], known[value] = color, True
    rows, columns = np.indices(ids.shape)
    stripes = np.array(_HATCH, np.uint8)[((rows + columns) // 3 % 2 == 0).astype(int)]
    pixels: np.ndarray = np.where(known[ids][..., None], table[ids], stripes)
    return pixels


@dataclass(frozen=True)
class Key:
    """One line of a legend: a box of a color (None: striped, no data) and its text."""

    text: str
    color: tuple[int, int, int] | None

    def draw(self, draw: ImageDraw, x: int, y: int, letters: Any, size: int) -> None:
        """Draw the line with its box's upper left corner at (x, y)."""
        box = (x, y, x + round(1.6 * size), y + size)
        if self.color is None:
            draw.rectangle(box, fill=_HATCH[0], outline="#6b757d")
            for step in range(0, round(2.6 * size), 6):
                start = (max(box[0], box[0] + step - size), min(box[3], box[1] + step))
                end = (min(box[2], box[0] + step), max(box[1], box[1] + step - round(1.6 * size)))
                draw.line((start, end), fill=_HATCH[1], width=2)
            draw.rectangle(box, outline="#6b757d")
        else:
            draw.rectangle(box, fill=self.color, outline="#6b757d")
        draw.text((x + round(2.2 * size), y + size / 2), self.text, fill=INK, font=letters, anchor="lm")

    def width(self, letters: Any, size: int) -> int:
        """Return its width in pixels."""
        length: float = letters.getlength(self.text)
        return round(2.2 * size + length)


@dataclass(frozen=True)
class GroundScale:
    """Meters on the ground along a pixel's width and height; both 1 and ``known`` False without a CRS."""

    x_m: float
    y_m: float
    known: bool

    @classmethod
    def of(cls, grid: Grid) -> GroundScale:
        """Return that of a grid, at its center."""
        area = grid.pixel_area_m2()
        width, height = grid.resolution_xy
        if area is None:
            return cls(1.0, height / width, False)
        from rasterio.crs import CRS

        if CRS.from_wkt(grid.crs).is_geographic:
            _, south, _, north = grid.bounds_xy
            x_m = width * _METERS_A_DEGREE * math.cos(math.radians((south + north) / 2))
        else:
            x_m = (area * width / height) ** 0.5
        return cls(x_m, area / x_m, True)

    def bar(self, pixel_m: float, most_px: float) -> tuple[float, str]:
        """Return length in pixels and text of the longest round scale bar of at most ``most_px`` pixels of ``pixel_m``."""
        power = 10.0 ** math.floor(math.log10(most_px * pixel_m))
        length = next(digit * power for digit in _DIGITS if digit * power <= most_px * pixel_m * (1 + 1e-9))
        if not self.known:
            return length / pixel_m, f"{length:g} pixels"
        return length / pixel_m, f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"


def north_angle(grid: Grid) -> float | None:
    """Return the direction of true north at the center, degrees clockwise from the picture's top; None without a CRS."""
    if grid.crs is None:
        return None
    from rasterio.crs import CRS
    from rasterio.warp import transform

    crs = CRS.from_wkt(grid.crs)
    center = grid.transform @ (grid.width / 2, grid.height / 2)
    longitude, latitude = (values[0] for values in transform(crs, "EPSG:4326", [center[0]], [center[1]]))
    step = 1e-3 if latitude < 89.9 else -1e-3
    x, y = (values[0] for values in transform("EPSG:4326", crs, [longitude], [latitude + step]))
    if not all(map(math.isfinite, (x, y))):
        return None
    column, row = ~grid.transform @ (x, y)
    scale = GroundScale.of(grid)
    right, up = (column - grid.width / 2) * scale.x_m, (grid.height / 2 - row) * scale.y_m
    return math.degrees(math.atan2(right, up)) + (180.0 if step < 0 else 0.0)
