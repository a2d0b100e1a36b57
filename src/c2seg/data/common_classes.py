"""A city with the classes of a crosswalk in the place of its own."""

from __future__ import annotations

from dataclasses import replace

from c2seg.data.city import City, Label, LabeledCity
from c2seg.legend.crosswalk import Crosswalk
from c2seg.raster import ArrayRaster

__all__ = ["in_common_classes"]


def in_common_classes(city: City | LabeledCity, walk: Crosswalk) -> City | LabeledCity:
    """Return a city with the legend of a crosswalk, its labels in memory with the common classes' ids, uint8 [1, H, W].

    Raises InputError for a legend that the crosswalk does not cover.
    """
    if isinstance(city, City):
        walk.table(city.legend)
        return replace(city, legend=walk.legend)
    images = replace(city.images, legend=walk.legend)
    labels = []
    for index, (scene, label) in enumerate(zip(city.images.scenes, city.labels, strict=True)):
        ids = walk.apply(city.read_label(index, scene.grid.window), city.images.legend)
        labels.append(Label(ArrayRaster(ids[None]), origin=label.origin))
    return LabeledCity(images, tuple(labels))
