"""One modality of a prepared city as a function of windows: its products warped, composited and encoded. Picklable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from affine import Affine

from c2seg.errors import DataError
from c2seg.prepare.composites import best, median
from c2seg.products import Kind, Product, ProductBand, Unit
from c2seg.types import Grid, Window

__all__ = ["Composite", "Encoding", "ImageLayer", "encoding_of"]

Composite = Literal["median", "best"]
Storage = Literal["auto", "float32"]


@dataclass(frozen=True)
class Encoding:
    """How values are stored: value = stored x ``scale``; ``nodata`` marks invalid pixels (NaN for floats)."""

    dtype: Literal["int16", "float32"]
    scale: float
    nodata: float

    def stored(self, values: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """Return values [C, H, W] as they are stored. What int16 cannot hold is clipped."""
        if self.dtype == "float32":
            result: np.ndarray = np.where(valid, values, np.float32(self.nodata)).astype(np.float32, copy=False)
            return result
        scaled = values * np.float32(1 / self.scale)
        np.rint(scaled, out=scaled)
        np.clip(scaled, -32767, 32767, out=scaled)
        stored: np.ndarray = scaled.astype(np.int16)
        stored[:, ~valid] = self.nodata
        return stored


def encoding_of(unit: Unit, storage: Storage) -> Encoding:
    """Return how a unit is stored: reflectance in steps of 1e-4 as int16, unless floats are asked for; others as floats."""
    if unit == "reflectance" and storage == "auto":
        return Encoding("int16", 1e-4, -32768)
    return Encoding("float32", 1.0, float("nan"))


@dataclass(frozen=True)
class ImageLayer:
    """A modality: ``products`` of one kind with the same bands, on its ``grid``.

    ``shifts`` (x, y in meters, one for each product) say how far a product's content lies from where it should; it is undone in
    the warp.
    """

    name: Kind
    products: tuple[Product, ...]
    grid: Grid
    encoding: Encoding
    composite: Composite
    shifts: tuple[tuple[float, float], ...]

    @property
    def bands(self) -> tuple[ProductBand, ...]:
        """The bands, as the first product describes them."""
        return self.products[0].bands

    @property
    def unit(self) -> Unit:
        """Unit of the values."""
        return self.products[0].facts.unit

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the stored numbers."""
        return np.dtype(self.encoding.dtype)

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Return stored numbers [C, H, W] and validity bool [H, W] of a window of the grid."""
        warped = (
            product.warp(_moved(self.grid, shift), window)
            for product, shift in zip(self.products, self.shifts, strict=True)
        )
        values, valid = best(warped) if self.composite == "best" or len(self.products) == 1 else median(list(warped))
        return self.encoding.stored(values, valid), valid

    def check(self) -> None:
        """Raise DataError if the products do not fit together."""
        first = self.products[0]
        for product in self.products[1:]:
            if _names(product.bands) != _names(first.bands):
                raise DataError(
                    f"`{self.name}`: {product.facts.product} has bands {_listed(product.bands)}, {first.facts.product} has "
                    f"{_listed(first.bands)}; choose common ones with `bands`"
                )
            if product.facts.unit != first.facts.unit:
                raise DataError(
                    f"`{self.name}`: {product.facts.product} is in {product.facts.unit}, {first.facts.product} in "
                    f"{first.facts.unit}; give products of one unit"
                )


def _moved(grid: Grid, shift: tuple[float, float]) -> Grid:
    if shift == (0.0, 0.0):
        return grid
    return Grid(grid.height, grid.width, Affine.translation(*shift) @ grid.transform, grid.crs)


def _names(bands: Sequence[ProductBand]) -> list[str]:
    return [band.name for band in bands]


def _listed(bands: Sequence[ProductBand]) -> str:
    names = _names(bands)
    return ", ".join(names) if len(names) <= 16 else f"{', '.join(names[:3])}, ... ({len(names)})"
