"""Keep a city in memory: training reads the same pixels many times."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np

from c2seg.data.city import City, LabelledCity, Layer, Scene
from c2seg.errors import InputError
from c2seg.raster import ArrayRaster
from c2seg.types import Window

__all__ = ["city_bytes", "in_memory"]

L = TypeVar("L", bound=Layer)


def city_bytes(city: City) -> int:
    """Return the bytes that the city's images take in memory, at their native grids and types."""
    layers = [layer for scene in city.scenes for layer in [*scene.modalities.values(), scene.valid] if layer]
    return sum(x.source.count * x.source.height * x.source.width * x.source.dtype.itemsize for x in layers)


def in_memory(city: City, budget_bytes: int) -> City:
    """Return the city with its images read into memory. Raises InputError if they take more than ``budget_bytes``."""
    size = city_bytes(city)
    if size > budget_bytes:
        raise InputError(
            f"city {city.name!r} takes {size / 2**30:.1f} GiB in memory, more than the {budget_bytes / 2**30:.1f} GiB "
            "allowed"
        )
    return replace(city, scenes=tuple(_scene(scene) for scene in city.scenes))


def labels_in_memory(city: LabelledCity, budget_bytes: int) -> LabelledCity:
    """Return the labelled city with images and labels in memory."""
    return LabelledCity(in_memory(city.images, budget_bytes), tuple(_layer(label) for label in city.labels))


def _scene(scene: Scene) -> Scene:
    modalities = {name: _layer(stack) for name, stack in scene.modalities.items()}
    return replace(scene, modalities=modalities, valid=_layer(scene.valid) if scene.valid else None)


def _layer(layer: L) -> L:
    source = layer.source
    array = np.ascontiguousarray(source.read(Window(0, 0, source.height, source.width)))
    return replace(layer, source=ArrayRaster(array, source.nodata))
