"""A Sentinel-1 GRD image of one polarization, as calibrated power by window."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import rasterio

from c2seg.errors import DataError
from c2seg.products.native import GdalFile
from c2seg.products.sentinel1_annotation import Annotation
from c2seg.products.sentinel1_border import Border, find_border
from c2seg.products.sentinel1_calibration import Noise, Table
from c2seg.types import Window

__all__ = ["GrdImage", "check_measurement"]

_MOST_PX = 4 * 2**20
"""Pixels that are calibrated together."""
_LOOKS_TO_ENL = 0.88
"""Equivalent per nominal look: the agency's 4.4 for the 5 looks of IW GRDH."""


@dataclass(frozen=True, eq=False)
class GrdImage:
    """An image with its tables; ``noise`` is None where none is subtracted."""

    raster: GdalFile
    annotation: Annotation
    table: Table
    noise: Noise | None
    border_noise: Noise | None = None
    """Thermal noise by which invalid pixels along the edges are recognized; None: the processor wrote zeros there."""

    def power(self, window: Window) -> np.ndarray:
        """Return (DN^2 - noise) / A^2 of a window inside the image, float32 [H, W]; NaN where DN is 0 or in the border.

        A pixel's value does not depend on the window. Raises DataError for a truncated or damaged file.
        """
        stored = self._stored(window)
        values = stored.astype(np.float32)
        values *= values
        if self.noise is not None:
            values -= self.noise.read(window)
        table = self.table.read(window)
        table *= table
        values /= table
        values[stored == 0] = np.nan
        if self.border_noise is not None:
            values[~self._border.inside(window)] = np.nan
        return values

    def multilooked(self, window: Window, count: int) -> np.ndarray:
        """Return means of ``count`` x ``count`` pixels, from the image's first on; ``window`` counts means.

        A mean is NaN where less than half of its pixels are valid.
        """
        if count == 1:
            return self.power(window)
        step = max(1, _MOST_PX // max(1, window.width * count * count))
        parts = [
            self._means(window.rows(row, min(step, window.height - row)), count)
            for row in range(0, window.height, step)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, window.width), np.float32)

    def _means(self, window: Window, count: int) -> np.ndarray:
        whole = Window(window.row * count, window.col * count, window.height * count, window.width * count)
        inside = whole.intersect(Window(0, 0, self.annotation.lines, self.annotation.pixels))
        values = np.full((whole.height, whole.width), np.nan, np.float32)
        values[: inside.height, : inside.width] = self.power(inside)
        cells = values.reshape(window.height, count, window.width, count)
        valid = np.isfinite(cells)
        number = valid.sum(axis=(1, 3))
        sums = np.where(valid, cells, 0).sum(axis=(1, 3), dtype=np.float64)
        means = sums / np.maximum(number, 1)
        return np.where(2 * number >= count * count, means, np.nan).astype(np.float32)

    def looks(self, count: int) -> float:
        """Return the equivalent number of looks of means of ``count`` x ``count`` pixels.

        The spacing of GRD images is about half of their resolution, so that means of 2 x 2 add little.
        """
        return _LOOKS_TO_ENL * self.annotation.looks * max(1.0, count / 2) ** 2

    @cached_property
    def _border(self) -> Border:
        noise = self.border_noise
        if noise is None:
            raise AssertionError("the border is searched only where the processor left noise")
        return find_border(self._stored, noise, self.annotation.lines, self.annotation.pixels)

    def _stored(self, window: Window) -> np.ndarray:
        """Return DN [H, W]. Images are stored line by line: parts of lines are read without the rest of them."""
        with rasterio.Env(GTIFF_DIRECT_IO="YES"):
            stored: np.ndarray = self.raster.read([1], window)[0]
        return stored


def check_measurement(raster: GdalFile, annotation: Annotation) -> None:
    """Raise DataError if an image is not what its annotation describes, or if its file ends early."""
    with raster.open() as dataset:
        if dataset.dtypes[0].startswith("complex"):
            raise DataError(f"{raster} holds complex values; only detected images (GRD) are read")
        if (dataset.height, dataset.width) != (annotation.lines, annotation.pixels):
            raise DataError(
                f"{raster} has {dataset.height} x {dataset.width} pixels, its annotation says {annotation.lines} x "
                f"{annotation.pixels}; download the product again"
            )
        height, width = dataset.block_shapes[0]
        block = f"{(annotation.pixels - 1) // width}_{(annotation.lines - 1) // height}"
        start, size = (dataset.get_tag_item(f"BLOCK_{name}_{block}", "TIFF", bidx=1) for name in ("OFFSET", "SIZE"))
    if raster.member is None and start and size and int(start) + int(size) > raster.path.stat().st_size:
        raise DataError(
            f"{raster} is truncated: it ends after {raster.path.stat().st_size} bytes, its last lines stand at {start}; "
            "download it again"
        )
