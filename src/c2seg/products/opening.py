"""Which reader opens a path: the built-in ones in order, then plug-ins, last any other raster."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import cast

from c2seg import plugins
from c2seg.errors import DataError, InputError
from c2seg.products.base import Kind, Product, ProductOptions, Reader

__all__ = ["BUILT_IN", "open_product", "readers"]

BUILT_IN = (
    "sentinel2", "sentinel1", "landsat", "enmap", "prisma", "desis", "gaofen", "geocoded_sar", "bandfiles", "envi",
)  # fmt: skip
"""Modules of ``c2seg.products``, asked in this order."""
_LAST = "rasterfile"


def readers() -> Iterator[tuple[str, Reader]]:
    """Yield names and readers in the order in which they are asked, each imported when its turn comes."""
    for name in BUILT_IN:
        yield name, _module(name)
    for plugin in plugins.installed("products"):
        yield plugin.name, cast(Reader, plugins.load(plugin))
    yield _LAST, _module(_LAST)


def open_product(path: Path, options: ProductOptions | None = None, kind: Kind | None = None) -> Product:
    """Open a product with the first reader that recognizes it.

    ``kind`` is what it must be; it also tells what a raster without further facts is. Raises DataError if no reader recognizes
    the path or if the product is damaged, InputError if it is of another kind.
    """
    options = options or ProductOptions()
    if not path.exists():
        raise DataError(f"{path} does not exist")
    for name, reader in readers():
        if _recognizes(name, reader, path):
            product = _opened(name, reader, path, options, kind)
            if kind is not None and product.facts.kind != kind:
                raise InputError(
                    f"`{kind}`: {path} is a product of kind {product.facts.kind} ({product.facts.sensor}); give it as "
                    f"`{product.facts.kind}`"
                )
            return product
    known = "; ".join(reader.LOOKS_FOR for _, reader in readers())
    raise DataError(f"{path} is no product that c2seg knows; it reads {known}")


def _recognizes(name: str, reader: Reader, path: Path) -> bool:
    plugin = _plugin(name)
    if plugin is None:
        return reader.recognize(path)
    with plugins.guarded(plugin, "failed in `recognize`"):
        return reader.recognize(path)


def _opened(name: str, reader: Reader, path: Path, options: ProductOptions, kind: Kind | None) -> Product:
    plugin = _plugin(name)
    if open_as := getattr(reader, "open_as", None) if plugin is None else None:
        opened: Product = open_as(path, options, kind)  # what the raster does not say of itself
        return opened
    if plugin is None:
        return reader.open(path, options)
    with plugins.guarded(plugin, "failed in `open`"):
        return reader.open(path, options)


def _plugin(name: str) -> plugins.Plugin | None:
    return None if name in (*BUILT_IN, _LAST) else plugins.find("products", name)


def _module(name: str) -> Reader:
    return cast(Reader, import_module(f"c2seg.products.{name}"))
