"""Rasters of float32 that are made of another one as they are read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from c2seg.raster import RasterSource

__all__ = ["Derived"]


class Derived(ABC):
    """What such a raster takes over from the one that it is made of; how many bands it has and what is in them is its own."""

    @property
    @abstractmethod
    def origin(self) -> RasterSource:
        """The raster that it is made of."""

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
        """None: NaN marks pixels without data."""
        return None

    def close(self) -> None:
        """Close the other raster where it holds resources."""
        if close := getattr(self.origin, "close", None):
            close()
