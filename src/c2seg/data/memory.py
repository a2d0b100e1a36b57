"""Cities in memory: training reads the same pixels many times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from c2seg.data.city import City, Layer, Scene, blocks
from c2seg.errors import InputError
from c2seg.raster import ArrayRaster, RasterSource
from c2seg.types import Window

__all__ = [
    "CachedRaster",
    "city_bytes",
    "in_memory",
    "layer_in_memory",
    "memory_mapped",
    "replace_sources",
    "source_bytes",
]

L = TypeVar("L", bound=Layer)

_BLOCK_PX = 512  # a multiple of the usual block sizes of files, so that each block is decoded once


@dataclass(frozen=True)
class CachedRaster(ArrayRaster):
    """A copy of another source in memory or in a memory-mapped file, with the fingerprint of that source."""

    identity: str = ""
    file: Path | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        if self.file is None:
            return (CachedRaster, (self.array, self.nodata, self.identity))
        return (memory_mapped, (self.file, self.array.shape, self.array.dtype, self.nodata, self.identity))

    def fingerprint(self) -> str:
        """Return the fingerprint of the source."""
        return self.identity


def memory_mapped(
    file: Path, shape: tuple[int, int, int], dtype: np.dtype[Any], nodata: float | None, identity: str
) -> CachedRaster:
    """Open a file of pixels [H, W, C] as a memory-mapped source of ``shape`` (C, H, W)."""
    count, height, width = shape
    array = np.memmap(file, dtype, "r", shape=(height, width, count))
    return CachedRaster(np.asarray(array).transpose(2, 0, 1), nodata, identity, file)


def source_bytes(source: RasterSource) -> int:
    """Return the size of a source's raw pixels in bytes."""
    return source.count * source.height * source.width * source.dtype.itemsize


def city_bytes(city: City) -> int:
    """Return the size of the city's images in bytes, on their native grids and with their raw data types."""
    layers = [layer for scene in city.scenes for layer in [*scene.modalities.values(), scene.valid] if layer]
    return sum(source_bytes(source) for layer in layers for source in (layer.source, layer.mask) if source)


def in_memory(city: City, budget_bytes: int) -> City:
    """Return the city with its images in memory. Raises InputError if they need more than ``budget_bytes``."""
    size = city_bytes(city)
    if size > budget_bytes:
        raise InputError(
            f"city {city.name!r} needs {size / 2**30:.1f} GiB in memory, more than the budget of "
            f"{budget_bytes / 2**30:.1f} GiB"
        )
    return replace_sources(city, lambda _scene, _name, source: layer_in_memory(source))


def layer_in_memory(source: RasterSource) -> CachedRaster:
    """Return a copy of a source in memory. The source is closed."""
    array = np.empty((source.count, source.height, source.width), source.dtype)
    for window in blocks(Window(0, 0, source.height, source.width), _BLOCK_PX):
        rows, cols = window.slices
        array[:, rows, cols] = source.read(window)
    identity = source.fingerprint()
    close = getattr(source, "close", None)
    if close is not None:
        close()
    return CachedRaster(array, source.nodata, identity)


def replace_sources(city: City, change: Callable[[int, str, RasterSource], RasterSource]) -> City:
    """Return the city with every image source replaced by ``change(scene index, layer name, source)``."""

    def layer(index: int, name: str, one: L) -> L:
        mask = one.mask and change(index, f"{name}-mask", one.mask)
        return replace(one, source=change(index, name, one.source), mask=mask)

    def scene(index: int, scene: Scene) -> Scene:
        modalities = {name: layer(index, name, stack) for name, stack in scene.modalities.items()}
        valid = layer(index, "valid", scene.valid) if scene.valid else None
        return replace(scene, modalities=modalities, valid=valid)

    return replace(city, scenes=tuple(scene(index, item) for index, item in enumerate(city.scenes)))
