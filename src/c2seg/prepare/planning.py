"""What a preparation would make: grid, layers, files and record, as far as they are known before any pixel is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rasterio.crs import CRS

from c2seg._version import __version__
from c2seg.errors import DataError, GridError
from c2seg.outputs import Output, raster_output
from c2seg.prepare.area import coarser, grid_of, overlaps
from c2seg.prepare.labeling import label_digest, label_outputs
from c2seg.prepare.layer import ImageLayer, encoding_of
from c2seg.prepare.record import GridRecord, PreparedProduct, PrepareRecord
from c2seg.prepare.request import Request, digests_of, key_of, open_products, packages
from c2seg.prepare.steps import steps_of
from c2seg.products import Kind, Product
from c2seg.raster import files_digest
from c2seg.types import Grid

__all__ = ["RECORD", "Plan", "grid_record", "plan_city"]

RECORD = "prepare.json"


@dataclass(frozen=True)
class Plan:
    """What would be made: the record as far as it is known before any pixel is read, and the layers."""

    request: Request
    grid: Grid
    layers: tuple[ImageLayer, ...]
    record: PrepareRecord

    @property
    def outputs(self) -> dict[str, Output]:
        """All files by name, in the order in which they are made."""
        out = self.request.out
        rasters = [f"{layer.name}.tif" for layer in self.layers] + ["valid.tif"]
        named = {name: raster_output(out / name) for name in rasters}
        if self.request.osm:
            named |= label_outputs(out)
        return named | {name: Output(out / name) for name in ("city.yaml", "preview.png", RECORD)}

    @property
    def stored_bytes(self) -> int:
        """Bytes of all pixels before compression; as many are needed on the disk for the time of the work."""
        return sum(
            layer.grid.height * layer.grid.width * (len(layer.bands) * layer.dtype.itemsize + 1)
            for layer in self.layers
        )


def plan_city(request: Request) -> Plan:
    """Open the products and decide on the grid, without reading pixels.

    Raises DataError for products that do not fit together or miss the area, InputError for parameters.
    """
    request.area.check()
    products = open_products(request)
    grid = grid_of(request.area, products)
    for kind, items in products.items():
        for product in items:
            if not overlaps(product, grid):
                raise DataError(
                    f"`{kind}`: {product.facts.product} does not touch the area; it covers {_box(product)} (west, south, "
                    "east, north); give another product or other `bounds`"
                )
    layers = tuple(_layer(request, kind, items, grid) for kind, items in products.items())
    for layer in layers:
        layer.check()
    return Plan(request, grid, layers, _record(request, grid, layers))


def _layer(request: Request, kind: Kind, products: Sequence[Product], grid: Grid) -> ImageLayer:
    resolution = min(product.resolution_m for product in products)
    place = coarser(grid, resolution) if kind == "hsi" else grid
    encoding = encoding_of(products[0].facts.unit, request.storage)
    return ImageLayer(kind, tuple(products), place, encoding, request.composite, ((0.0, 0.0),) * len(products))


def _record(request: Request, grid: Grid, layers: Sequence[ImageLayer]) -> PrepareRecord:
    products = tuple(_product(product) for layer in layers for product in layer.products)
    place = grid_record(grid)
    given: dict[str, Any] = {
        "name": request.city, "parameters": request.parameters(), "grid": place.as_json(),
        "products": [product.as_json() for product in products], "osm": label_digest(request.osm),
        "like": files_digest([request.area.like]) if request.area.like else None,
        "dem": files_digest([request.options.dem]) if request.options.dem else None,
    }  # fmt: skip
    return PrepareRecord(
        name=request.city, key=key_of(given), c2seg=__version__, packages=packages(),
        parameters=request.parameters() | {"osm_digest": given["osm"], "dem_digest": given["dem"]},
        grid=place, products=products, steps=steps_of(request, grid, layers),
        notes=tuple(dict.fromkeys(note for product in products for note in product.notes)),
    )  # fmt: skip


def _product(product: Product) -> PreparedProduct:
    facts = product.facts
    return PreparedProduct(
        modality=facts.kind, product=facts.product, sensor=facts.sensor, level=facts.level,
        acquired=facts.acquired.isoformat() if facts.acquired else None, unit=facts.unit,
        bands=tuple(band.name for band in product.bands), resolution_m=round(product.resolution_m, 6),
        processing=dict(facts.processing), shift_m=(0.0, 0.0), files=digests_of(product),
        notes=facts.notes,
    )  # fmt: skip


def grid_record(grid: Grid) -> GridRecord:
    """Return a grid as the record tells it."""
    if grid.crs is None:
        raise GridError("the grid has no CRS")
    a, b, c, d, e, f = grid.transform[:6]
    return GridRecord(
        crs=grid.crs, epsg=CRS.from_wkt(grid.crs).to_epsg(), transform=(a, b, c, d, e, f), height=grid.height,
        width=grid.width, pixel_m=round(grid.pixel_side_m() or 0.0, 6),
    )  # fmt: skip


def _box(product: Product) -> str:
    return ",".join(f"{value:.4f}" for value in product.bounds_lonlat)
