"""Rasters of float32 values that are computed from another raster when they are read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from c2seg.raster import RasterSource

__all__ = ["Derived"]


class Derived(ABC):
    """Base class of derived rasters. Size and resources are those of the original; subclasses define bands and values."""

    @property
    @abstractmethod
    def origin(self) -> RasterSource:
        """The original raster."""

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.origin.height

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.origin.width

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32."""
        return np.dtype(np.float32)

    @property
    def nodata(self) -> float | None:
        """None: NaN marks nodata."""
        return None

    def close(self) -> None:
        """Close the original raster."""
        if close := getattr(self.origin, "close", None):
            close()
