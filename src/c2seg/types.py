"""Small frozen types shared by several packages: windows and grids. They need neither torch nor GDAL."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, radians

from affine import Affine

__all__ = ["Grid", "Window"]


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A rectangle of pixels: rows ``row .. row+height-1``, columns ``col .. col+width-1``.

    A window may extend beyond the raster, also to negative offsets. Readers return invalid pixels there.
    """

    row: int
    col: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices. The offsets must not be negative."""
        return slice(self.row, self.row + self.height), slice(self.col, self.col + self.width)

    @property
    def row_end(self) -> int:
        """First row after the window."""
        return self.row + self.height

    @property
    def col_end(self) -> int:
        """First column after the window."""
        return self.col + self.width

    @property
    def is_empty(self) -> bool:
        """True if the window contains no pixel."""
        return self.height <= 0 or self.width <= 0

    def expand(self, margin_px: int) -> Window:
        """Return the window expanded by ``margin_px`` on all four sides."""
        return Window(
            self.row - margin_px, self.col - margin_px, self.height + 2 * margin_px, self.width + 2 * margin_px
        )

    def rows(self, first: int, height: int) -> Window:
        """Return ``height`` rows of the window, from its row ``first`` on."""
        return Window(self.row + first, self.col, height, self.width)

    def shift(self, rows: int, cols: int) -> Window:
        """Return the window moved by whole pixels."""
        return Window(self.row + rows, self.col + cols, self.height, self.width)

    def intersect(self, other: Window) -> Window:
        """Return the intersection. Its height or width is 0 if the windows do not overlap."""
        row, col = max(self.row, other.row), max(self.col, other.col)
        height = max(0, min(self.row_end, other.row_end) - row)
        width = max(0, min(self.col_end, other.col_end) - col)
        return Window(row, col, height, width)

    def coarsen(self, ratio: int) -> Window:
        """Return the smallest window on a grid ``ratio`` times coarser (same origin) that covers this one."""
        row, col = self.row // ratio, self.col // ratio
        return Window(row, col, -(-self.row_end // ratio) - row, -(-self.col_end // ratio) - col)


@dataclass(frozen=True, slots=True)
class Grid:
    """Geometry of a raster: size in pixels, affine transform (pixel corner to x, y) and CRS as WKT (None: no CRS)."""

    height: int
    width: int
    transform: Affine
    crs: str | None = None

    @property
    def window(self) -> Window:
        """The window that covers the whole grid."""
        return Window(0, 0, self.height, self.width)

    @property
    def resolution_xy(self) -> tuple[float, float]:
        """Pixel size along x and y, positive, in units of the CRS (meters if there is none)."""
        a, b, _, d, e, _ = self.transform[:6]
        return (a * a + d * d) ** 0.5, (b * b + e * e) ** 0.5

    @property
    def bounds_xy(self) -> tuple[float, float, float, float]:
        """West, south, east and north bounds of the grid."""
        corners = [self.transform @ (c, r) for c in (0, self.width) for r in (0, self.height)]
        xs, ys = zip(*corners, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    def pixel_area_m2(self) -> float | None:
        """Area of a pixel in square meters, at the grid's center. None without a CRS: the size of a pixel is not known.

        Other projected units are converted to meters. Degrees are converted on a sphere. Web Mercator is corrected by
        cos^2(latitude), because its meters are not ground meters.
        """
        if self.crs is None:
            return None
        width, height = self.resolution_xy
        from rasterio.crs import CRS

        crs = CRS.from_wkt(self.crs)
        west, south, east, north = self.bounds_xy
        if crs.is_geographic:
            meters = 6371008.8 * radians(1.0)
            return width * height * meters * meters * cos(radians((south + north) / 2))
        factor = crs.linear_units_factor[1]
        area = float(width * height * factor * factor)
        if crs.to_epsg() == 3857:
            from rasterio.warp import transform

            _, latitude = transform(crs, "EPSG:4326", [(west + east) / 2], [(south + north) / 2])
            area *= cos(radians(latitude[0])) ** 2
        return area

    def pixel_side_m(self) -> float | None:
        """Side of a square as large as a pixel, meters. None without a CRS."""
        area = self.pixel_area_m2()
        return None if area is None else float(area**0.5)

    def crop(self, window: Window) -> Grid:
        """Return the grid of a window of this one."""
        return Grid(window.height, window.width, self.transform @ Affine.translation(window.col, window.row), self.crs)
