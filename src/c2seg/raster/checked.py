"""Rasters that are read back before they count as written: not every write error of GDAL is reported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterioWindow

from c2seg.checksums import checksum
from c2seg.errors import OutputError, one_line
from c2seg.raster.opening import without_georeference
from c2seg.types import Window

__all__ = ["CheckedRaster", "raster_faults"]


class CheckedRaster:
    """Notes a checksum of every window that is written to a raster, and compares the finished file with them.

    ``known`` are checksums of windows [C, H, W] that were written elsewhere.
    """

    def __init__(self, place: Path, known: Mapping[Window, int] = MappingProxyType({})) -> None:
        self._place = place
        self._checksums = dict(known)

    def write(self, dataset: Any, values: np.ndarray, window: Window) -> None:
        """Write [C, H, W] to a window of an open dataset."""
        self._checksums[window] = checksum(values.astype(dataset.dtypes[0], copy=False))
        dataset.write(values, window=_rasterio_window(window))

    def verify(self, path: Path) -> None:
        """Read the file at ``path`` back. Raises OutputError if it cannot be read or differs from what was written."""
        try:
            with without_georeference(), rasterio.open(path) as dataset:
                whole = all(
                    checksum(dataset.read(window=_rasterio_window(window))) == written
                    for window, written in self._checksums.items()
                )
        except (RasterioError, CPLE_BaseError):
            whole = False
        if not whole:
            raise OutputError(
                f"cannot write {self._place}: what was written reads back differently (disk full?); make room and run the "
                "same command again"
            )


@contextmanager
def raster_faults(place: Path) -> Iterator[None]:
    """Raise errors of GDAL inside the block as OutputError about ``place``; files need no georeference."""
    try:
        with without_georeference():
            yield
    except (RasterioError, CPLE_BaseError) as error:
        raise OutputError(f"cannot write {place}: {one_line(error.__cause__ or error)}") from error


def _rasterio_window(window: Window) -> RasterioWindow:
    return RasterioWindow(window.col, window.row, window.width, window.height)
