"""What looks wrong in a city, from samples: pixels that are not square, reflectance that is none, one scene twice."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from c2seg.data.city import City, Scene
from c2seg.data.radiometry import radiometry_notes
from c2seg.data.samples import sampled_or_nothing

__all__ = ["of_city", "same_images"]

_SQUARE = 0.01  # relative difference of the sides of a pixel


def of_city(city: City) -> list[str]:
    """Return remarks on a city: pixels that are not square, an offset left in, the same images in two scenes."""
    remarks = [text for scene in city.scenes if (text := _not_square(scene))]
    remarks += radiometry_notes(city)
    return remarks + _same_images([(scene.name, scene) for scene in city.scenes])


def same_images(city: City, other: City) -> list[str]:
    """Return remarks on scenes of two cities whose samples of a modality are equal."""
    pairs = ((a, b) for a in city.scenes for b in other.scenes)
    return [text for a, b in pairs for text in _same_images([(f"{city.name}", a), (f"{other.name}", b)])]


def _not_square(scene: Scene) -> str | None:
    width, height = scene.grid.resolution_xy
    if abs(width - height) <= _SQUARE * max(width, height):
        return None
    unit = "" if scene.grid.crs else " (no CRS)"
    return (
        f"pixels of {scene.name} are not square: {width:g} x {height:g}{unit}; models see shapes stretched, warp the "
        "rasters to square pixels"
    )


def _same_images(scenes: Sequence[tuple[str, Scene]]) -> list[str]:
    """Return remarks on pairs of scenes whose samples of a modality are equal."""
    remarks = []
    for (a, first), (b, second) in combinations(scenes, 2):
        names = [name for name in first.modalities if name in second.modalities]
        same = [name for name in names if _equal(first, second, name)]
        if same:
            remarks.append(f"{a} and {b} hold the same {', '.join(same)}: one scene twice")
    return remarks


def _equal(first: Scene, second: Scene, name: str) -> bool:
    size = [
        (s.modality(name).source.height, s.modality(name).source.width, s.modality(name).count) for s in (first, second)
    ]
    if size[0] != size[1] or first.grid.window != second.grid.window:
        return False
    a, b = (sampled_or_nothing(scene, name) for scene in (first, second))
    return bool(a.size) and a.shape == b.shape and bool((a == b).all()) and bool(np.ptp(a))
