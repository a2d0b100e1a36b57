"""Validity as GDAL means it: mask bands inside the file or beside it (``.msk``), alpha, nodata values by band."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from rasterio.enums import MaskFlags

from c2seg.types import Window

if TYPE_CHECKING:
    from c2seg.raster.reading import RasterFile

__all__ = ["RasterMask", "mask_kind"]


def mask_kind(dataset: Any, bands: tuple[int, ...], alpha: tuple[int, ...]) -> str:
    """Return how the bands (0-based) of an open dataset are masked beyond one common nodata value; empty: not at all.

    ``dataset``: one mask for all bands. ``alpha``: bands of transparency. ``bands``: nodata values that differ.
    """
    if alpha:
        return "alpha"
    flags = [dataset.mask_flag_enums[band] for band in bands]
    if any(MaskFlags.per_dataset in flag and MaskFlags.alpha not in flag for flag in flags):
        return "dataset"
    return "" if len({repr(dataset.nodatavals[band]) for band in bands}) <= 1 else "bands"


@dataclass(frozen=True)
class RasterMask:
    """The mask of a file as a raster of one band, uint8: non-zero where valid."""

    file: RasterFile
    nodata: None = None
    count: int = field(default=1, init=False)

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.file.height

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.file.width

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8."""
        return np.dtype(np.uint8)

    def read(self, window: Window) -> np.ndarray:
        """Return uint8 [1, H, W] of a window inside the raster: 0 where it is nodata. Raises DataError if unreadable."""
        return self.file.read_mask(window)[None].astype(np.uint8)

    def close(self) -> None:
        """Close the calling thread's handle."""
        self.file.close()

    def fingerprint(self) -> str:
        """Return the digest of the file, which covers its masks."""
        return f"mask {self.file.fingerprint()}"
