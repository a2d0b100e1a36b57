"""A reader of a toy delivery: ``scene.toy`` names a raster beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rasterio.warp import transform_bounds

from c2seg.products import ProductBand, ProductFacts, ProductOptions, Warped, warp_bands
from c2seg.products.native import GdalFile, NativeBand
from c2seg.types import Grid, Window

LOOKS_FOR = "a toy delivery (.toy)"


def recognize(path: Path) -> bool:
    """Return True for a toy delivery; names are looked at first."""
    return path.is_file() and path.suffix == ".toy"


def open(path: Path, options: ProductOptions) -> ToyProduct:
    """Open a delivery: a text that names a raster beside it."""
    file = GdalFile(path.with_name(path.read_text().strip()))
    with file.open() as dataset:
        grid = Grid(dataset.height, dataset.width, dataset.transform, dataset.crs.to_wkt())
        bounds = transform_bounds(dataset.crs, "EPSG:4326", *dataset.bounds)
    facts = ProductFacts("msi", "Toy-1", path.stem, "reflectance", files=(path, file.path))
    return ToyProduct(facts, NativeBand(file, grid, 1, scale=1e-4, nodata=(0,)), bounds, grid)


@dataclass(frozen=True)
class ToyProduct:
    """A band of reflectance."""

    facts: ProductFacts
    native: NativeBand
    bounds_lonlat: tuple[float, float, float, float]
    grid: Grid
    bands = (ProductBand("red", "red", 660.0, 30.0),)
    resolution_m = 10.0

    @property
    def crs(self) -> str | None:
        """The CRS of the pixels."""
        return self.grid.crs

    def warp(self, grid: Grid, window: Window) -> Warped:
        """Return the pixels of a window of a grid, resampled once from the native ones."""
        return warp_bands([self.native], grid, window)
