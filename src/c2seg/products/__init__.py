"""Readers of satellite products as agencies deliver them, one module a family, behind one protocol (``base``)."""

from __future__ import annotations

from c2seg.products.base import Kernel, Kind, Product, ProductBand, ProductFacts, ProductOptions, Reader, Unit, Warped

__all__ = ["Kernel", "Kind", "Product", "ProductBand", "ProductFacts", "ProductOptions", "Reader", "Unit", "Warped"]
