"""What looks wrong in the values of cities, from samples: an offset left in, dark ends that differ, one scene twice.

A sample is up to 16 windows of a scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from c2seg.data.city import City, Modality, Scene, blocks
from c2seg.errors import C2SegError
from c2seg.types import Window

__all__ = ["dark_ends", "of_city", "same_images", "sampled"]

_WINDOWS, _SIDE_PX = 16, 256
_MOST_VALUES = 2**24
_OPTICAL = ("msi", "hsi")
_DARK = 0.01  # quantile
_OFFSET = 0.1  # reflectance: Sentinel-2's from processing baseline 04.00 on
_ROUNDING = 1e-3
_LEAST_PIXELS = 400
_SQUARE = 0.01  # relative difference of the sides of a pixel
_DN = (1e-5, 1e-3)  # scales of integers that hold reflectance
_BRIGHTEST = 2.0  # reflectance: what exceeds it is no reflectance
_MOST_DN = 20_000.0


def sampled(scene: Scene, name: str) -> np.ndarray:
    """Return scaled values float32 [C, n] of valid pixels of up to 16 windows of a scene's modality, fewer of many bands."""
    windows = list(blocks(scene.grid.window, _SIDE_PX))
    most = max(1, min(_WINDOWS, _MOST_VALUES // (scene.modality(name).count * _SIDE_PX**2)))
    samples = []
    for index in np.unique(np.linspace(0, len(windows) - 1, most).astype(int)):
        window: Window = windows[index]
        values, valid = scene.read(name, window)
        samples.append(values[:, valid])
    return np.concatenate(samples, axis=1)


def of_city(city: City) -> list[str]:
    """Return remarks on a city: pixels that are not square, an offset left in, the same images in two scenes."""
    remarks = [text for scene in city.scenes if (text := _not_square(scene))]
    for scene in city.scenes:
        for name in _OPTICAL:
            dark = _dark_end(scene, name)
            if dark is not None and dark.min() >= _OFFSET - _ROUNDING:
                remarks.append(
                    f"{name} of {scene.name}: the darkest pixels of every band are at {dark.min():.2f} reflectance or more; "
                    "an offset seems to be left in (Sentinel-2 from processing baseline 04.00 on: give `offset: -0.1` in "
                    "city.yaml)"
                )
    return remarks + _same_images([(scene.name, scene) for scene in city.scenes])


def dark_ends(cities: Sequence[City]) -> list[str]:
    """Return a remark for each modality whose dark end differs between cities by 0.1 reflectance or more.

    It is the first percentile of the darkest band of the first scene.
    """
    firsts = [city.scenes[0] for city in cities if city.scenes]
    names = [city.name for city in cities if city.scenes]
    remarks = []
    for modality in _OPTICAL:
        ends = [(name, _dark_end(scene, modality)) for name, scene in zip(names, firsts, strict=True)]
        known = [(name, float(dark.min())) for name, dark in ends if dark is not None]
        if len(known) < 2:
            continue
        (low_name, low), (high_name, high) = min(known, key=lambda x: x[1]), max(known, key=lambda x: x[1])
        if high - low >= _OFFSET - _ROUNDING:
            remarks.append(
                f"{modality}: the darkest pixels are at {high:.2f} reflectance in {high_name} and at {low:.2f} in {low_name}: "
                "an offset that is left in, or haze; compare their processing, or give `offset:` in city.yaml"
            )
    return remarks


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


def _dark_end(scene: Scene, name: str) -> np.ndarray | None:
    """Return the first percentile of each band as reflectance [C]; None if the values are not known to be reflectance."""
    if name not in scene.modalities:
        return None
    values = _sample_or_nothing(scene, name)
    if values.shape[1] < _LEAST_PIXELS:
        return None
    factor = _to_reflectance(scene.modality(name), values)
    if factor is None:
        return None
    dark: np.ndarray = np.quantile(values, _DARK, axis=1) * factor
    return dark


def _to_reflectance(stack: Modality, values: np.ndarray) -> float | None:
    """Return the factor to reflectance: 1 if values are scaled, 1e-4 for plain 16-bit integers of that range, else None."""
    bright = float(np.quantile(values, 0.99))
    scales = np.atleast_1d(stack.scale)
    if ((scales >= _DN[0]) & (scales <= _DN[1])).all() or stack.source.dtype.kind == "f":
        return 1.0 if 0 < bright <= _BRIGHTEST else None
    is_plain = stack.is_raw and stack.source.dtype in (np.dtype("uint16"), np.dtype("int16"))
    return 1e-4 if is_plain and 0.05 * _MOST_DN <= bright <= _MOST_DN else None


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
    a, b = (_sample_or_nothing(scene, name) for scene in (first, second))
    return bool(a.size) and a.shape == b.shape and bool((a == b).all()) and bool(np.ptp(a))


def _sample_or_nothing(scene: Scene, name: str) -> np.ndarray:
    try:
        return sampled(scene, name)
    except C2SegError:  # told where all pixels are read
        return np.empty((0, 0), np.float32)
