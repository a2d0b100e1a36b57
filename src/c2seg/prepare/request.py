"""What is asked of a preparation, and what it depends on."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import rasterio

from c2seg._version import __version__
from c2seg.documents import json_text
from c2seg.errors import InputError
from c2seg.prepare.area import Area
from c2seg.prepare.layer import Composite, Storage
from c2seg.prepare.record import FileDigest
from c2seg.products import Kind, Product, ProductOptions, open_product
from c2seg.raster import files_digest

__all__ = ["KINDS", "Request", "digests_of", "key_of", "open_products", "packages"]

KINDS: tuple[Kind, ...] = ("msi", "hsi", "sar")
_PACKAGES = ("numpy", "scipy", "rasterio")


@dataclass(frozen=True)
class Request:
    """A city to prepare: products by modality (several: dates or neighboring scenes), the grid, and how they are put together.

    ``storage``: reflectance as int16 in steps of 1e-4, or everything as float32. ``align``: measured shifts are undone in the
    warp (never those between SAR and MSI). ``osm``: an OpenStreetMap extract, of which ``label.tif`` is made.
    """

    out: Path
    products: Mapping[Kind, Sequence[Path]]
    area: Area = field(default_factory=Area)
    options: ProductOptions = field(default_factory=ProductOptions)
    composite: Composite = "median"
    storage: Storage = "auto"
    align: bool = False
    osm: Path | None = None
    name: str | None = None

    @property
    def city(self) -> str:
        """The city's name."""
        return self.name or self.out.resolve().name

    def parameters(self) -> dict[str, Any]:
        """Return all that the result depends on beside products and grid; of files their names alone."""
        options = {key: value.name if isinstance(value, Path) else value for key, value in asdict(self.options).items()}
        area = {key: value.name if isinstance(value, Path) else value for key, value in asdict(self.area).items()}
        return {
            "area": area, "options": options, "composite": self.composite, "storage": self.storage, "align": self.align,
            "osm": self.osm.name if self.osm else None,
        }  # fmt: skip


def open_products(request: Request) -> dict[Kind, tuple[Product, ...]]:
    """Open the products by modality, in the order msi, hsi, sar. Raises InputError if there are none; see ``open_product``."""
    opened: dict[Kind, tuple[Product, ...]] = {}
    for kind in KINDS:
        products = [open_product(path, request.options, kind) for path in request.products.get(kind, ())]
        if products:
            opened[kind] = tuple(sorted(products, key=_cloudiness) if request.composite == "best" else products)
    if not opened:
        raise InputError("give at least one product as `msi`, `hsi` or `sar`")
    return opened


def digests_of(product: Product) -> tuple[FileDigest, ...]:
    """Return the digests of all files of a product, by their names as seen from its folder."""
    files = product.facts.files
    folders = {file.parent for file in files}
    root = min(folders, key=lambda folder: len(folder.parts)) if folders else Path()
    return tuple(
        FileDigest(
            name=(file.relative_to(root) if file.is_relative_to(root) else Path(file.name)).as_posix(),
            digest=files_digest([file]),
        )
        for file in files
    )


def packages() -> dict[str, str]:
    """Return the versions on which pixels depend."""
    versions = {name: version(name) for name in _PACKAGES}
    return versions | {"gdal": rasterio.__gdal_version__, "python": platform.python_version()}


def key_of(content: Mapping[str, Any]) -> str:
    """Return a digest of all that a result depends on, and of the versions of c2seg and its packages."""
    every = {"c2seg": __version__, "packages": packages(), **content}
    return hashlib.sha256(json_text(every, sort_keys=True).encode()).hexdigest()[:32]


def _cloudiness(product: Product) -> float:
    """Return what share of clouds a product states, percent; products that state none keep their order, first."""
    value = product.facts.processing.get("cloud_percent")
    return float(value) if isinstance(value, int | float) else 0.0
