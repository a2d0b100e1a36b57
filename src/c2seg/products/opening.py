"""Which reader opens a path: the built-in ones in order, then plug-ins, last any other raster."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, cast

from c2seg import plugins
from c2seg.errors import DataError, InputError, PluginError
from c2seg.products.base import Kind, Product, ProductOptions, Reader

__all__ = ["BUILT_IN", "KnownReader", "open_product", "readers"]

BUILT_IN = (
    "sentinel2", "sentinel1", "landsat", "enmap", "prisma", "desis", "gaofen", "geocoded_sar", "bandfiles", "envi",
)  # fmt: skip
"""Modules of ``c2seg.products``, asked in this order."""
_LAST = "rasterfile"

_log = logging.getLogger(__name__)


class KnownReader(NamedTuple):
    """A reader, and the plug-in that it is; None: it is built in."""

    reader: Reader
    plugin: plugins.Plugin | None = None

    def recognizes(self, path: Path) -> bool:
        """Return whether the reader opens a path. Raises PluginError if a plug-in fails."""
        if self.plugin is None:
            return self.reader.recognize(path)
        return bool(plugins.call(self.plugin, "recognize", path))

    def open(self, path: Path, options: ProductOptions, kind: Kind | None) -> Product:
        """Open a product. ``kind`` reaches readers of files that do not say it themselves (``open_as``)."""
        if self.plugin is not None:
            return cast(Product, plugins.call(self.plugin, "open", path, options))
        if open_as := getattr(self.reader, "open_as", None):
            return cast(Product, open_as(path, options, kind))
        return self.reader.open(path, options)


def readers() -> Iterator[KnownReader]:
    """Yield readers in the order in which they are asked, each imported when its turn comes. Broken plug-ins are logged."""
    for name in BUILT_IN:
        yield _built_in(name)
    for plugin in plugins.installed("products"):
        try:
            yield KnownReader(cast(Reader, plugins.load(plugin)), plugin)
        except PluginError as error:  # another reader may still know the path
            _log.warning("%s", error)
    yield _built_in(_LAST)


def open_product(path: Path, options: ProductOptions | None = None, kind: Kind | None = None) -> Product:
    """Open a product with the first reader that recognizes it.

    ``kind`` is what it must be; it also tells what a raster without further facts is. Raises DataError if no reader recognizes
    the path or if the product is damaged, InputError if it is of another kind.
    """
    options = options or ProductOptions()
    if not path.exists():
        raise DataError(f"{path} does not exist")
    looked_for = []
    for known in readers():
        looked_for.append(known.reader.LOOKS_FOR)
        if known.recognizes(path):
            product = known.open(path, options, kind)
            _check_kind(product, path, kind)
            return product
    raise DataError(f"{path} is no product that c2seg knows; it looks for {'; '.join(looked_for)}")


def _check_kind(product: Product, path: Path, kind: Kind | None) -> None:
    facts = product.facts
    if kind is not None and facts.kind != kind:
        raise InputError(f"`{kind}`: {path} is a product of {facts.sensor}; give it as `{facts.kind}`")


def _built_in(name: str) -> KnownReader:
    return KnownReader(cast(Reader, import_module(f"c2seg.products.{name}")))
