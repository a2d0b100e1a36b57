"""Which images interpreters see: true and false color of a city's scene, a finer picture, or radar."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine

from c2seg.data import City, Scene, open_city
from c2seg.data.city import Modality
from c2seg.data.composites import Composite, composites
from c2seg.errors import GridError
from c2seg.raster import RasterFile, RasterSource, relate_grids
from c2seg.types import Grid, Window
from c2seg.verify.chips import ChipLayer, display_layer
from c2seg.verify.classmap import ClassMap

__all__ = ["city_layers", "image_layers", "scene_of"]

_MOST_PICTURES = 2


@dataclass(frozen=True)
class PickedBands:
    """Some bands of a raster that has them all in memory or in one block; with ``difference``, also first minus second."""

    source: RasterSource
    bands: tuple[int, ...]
    difference: bool = False

    @property
    def count(self) -> int:
        """Number of bands."""
        return len(self.bands) + self.difference

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.source.height

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.source.width

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the values."""
        return np.dtype(np.float32) if self.difference else self.source.dtype

    @property
    def nodata(self) -> float | None:
        """The source's."""
        return None if self.difference else self.source.nodata

    def read(self, window: Window) -> np.ndarray:
        """Return values [C, H, W] of a window inside; of a difference as float32, NaN without data."""
        raw = self.source.read(window)[list(self.bands)]
        if not self.difference:
            return raw
        values = raw.astype(np.float32)
        if self.source.nodata is not None:
            values[raw == self.source.nodata] = np.nan
        return np.concatenate([values, values[:1] - values[1:2]])

    def fingerprint(self) -> str:
        """The source's, with the bands."""
        return f"{self.source.fingerprint()} {self.bands}"


def image_layers(class_map: ClassMap, city: Path | None, backdrop: Path | None) -> tuple[ChipLayer, ...]:
    """Return the pictures that interpreters see, the finest first: the backdrop, then up to two of the city.

    Raises DataError for images that cannot be opened, GridError for a city that is not where the map is.
    """
    layers: list[ChipLayer] = []
    if backdrop is not None:
        layers.append(display_layer(RasterFile(backdrop), backdrop.stem))
    if city is not None:
        layers += city_layers(scene_of(open_city(city), class_map))
    return tuple(layers)


def scene_of(city: City, class_map: ClassMap) -> Scene:
    """Return the scene of a city on the grid of a map. Raises GridError if there is none."""
    named = class_map.record.key.scene if class_map.record and class_map.record.key else ""
    fitting = []
    problem: GridError | None = None
    for scene in city.scenes:
        try:
            relate_grids(class_map.grid, scene.grid, str(class_map.path), f"{city.name} ({scene.name})")
            fitting.append(scene)
        except GridError as error:
            problem = error
    if not fitting:
        raise GridError(f"{problem}; give the `city` that was mapped")
    return next((scene for scene in fitting if scene.name == named), fitting[0])


def city_layers(scene: Scene) -> list[ChipLayer]:
    """Return up to two pictures of a scene: true and false color of one modality, else what its modalities show."""
    by_modality = [(stack, composites(stack)) for stack in scene.modalities.values()]
    by_modality.sort(key=lambda item: (-_rank(item[1]), item[0].name != "msi"))
    first, *others = by_modality
    chosen = [(first[0], composite) for composite in first[1][:_MOST_PICTURES]]
    chosen += [(stack, item) for stack, shown in others for item in shown if "false color" in item.title]
    chosen += [(stack, shown[0]) for stack, shown in others if stack.name == "sar"]
    chosen += [(stack, shown[0]) for stack, shown in others if stack.name != "sar"]
    return [_layer(scene, stack, composite) for stack, composite in chosen[:_MOST_PICTURES]]


def _rank(shown: list[Composite]) -> int:
    """Return 2 for true and false color, 1 for true color alone, 0 for others."""
    known = sum("true color" in item.title or "false color" in item.title for item in shown)
    return min(known, 2)


def _layer(scene: Scene, stack: Modality, composite: Composite) -> ChipLayer:
    relation = stack.relation
    ratio = relation.ratio
    place = scene.grid.transform @ Affine.translation(relation.col_offset, relation.row_offset) @ Affine.scale(ratio)
    grid = Grid(stack.source.height, stack.source.width, place, scene.grid.crs)
    return ChipLayer(composite.title, _bands(stack.source, composite), grid, stack.mask)


def _bands(source: RasterSource, composite: Composite) -> RasterSource:
    """Return the bands of a picture; of a file only they are read."""
    if isinstance(source, RasterFile):
        numbers = tuple(source.numbers[band] for band in composite.bands)
        picked = RasterFile(source.path, numbers, source.subdataset, source.declared_nodata)
        return PickedBands(picked, tuple(range(len(numbers))), difference=True) if composite.difference else picked
    return PickedBands(source, composite.bands, composite.difference)
