"""Readers of satellite products as agencies deliver them, one module a family, behind one protocol (``base``)."""

from __future__ import annotations

from c2seg.products.base import Kernel, Kind, Product, ProductBand, ProductFacts, ProductOptions, Reader, Unit, Warped
from c2seg.products.opening import open_product, readers
from c2seg.products.warping import warp_bands

__all__ = [
    "Kernel",
    "Kind",
    "Product",
    "ProductBand",
    "ProductFacts",
    "ProductOptions",
    "Reader",
    "Unit",
    "Warped",
    "open_product",
    "readers",
    "warp_bands",
]
