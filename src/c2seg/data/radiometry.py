"""What looks wrong in the reflectance of optical images: dark objects that are too bright or too dark, bright targets.

Checks look at a sample of each scene. They are notes, no problems: snow, desert or open water may look the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from c2seg.data.city import Band, City, Modality, Scene
from c2seg.data.samples import sampled_or_nothing
from c2seg.data.units import OFFSET_LEFT_IN, OPTICAL, dark_objects, unit_of_values

__all__ = ["dark_ends", "radiometry_notes"]

_ROUNDING = 1e-3
_DARK, _MIDDLE, _BRIGHT = 0.01, 0.5, 0.99  # quantiles
_TWICE = -0.05  # reflectance of dark objects below which an offset was taken off twice
_DIM, _GLARING = 0.05, 1.5  # reflectance of bright targets: all bands below, or one above
_HAZE = 0.05  # reflectance by which dark objects are brighter in blue than in the infrared
_NO_SNOW = 0.3
_VISIBLE_NM = 690.0
_DN = (1e-5, 1e-3)


def radiometry_notes(city: City, modalities: Sequence[str] = OPTICAL) -> list[str]:
    """Return what looks wrong in the reflectance of a city's optical images, one sentence each."""
    return [
        f"{name} of {scene.name}: {text}"
        for scene in city.scenes
        for name in OPTICAL
        if name in modalities and name in scene.modalities
        for text in _notes(name, scene.modality(name), sampled_or_nothing(scene, name))
    ]


def dark_ends(cities: Sequence[City]) -> list[str]:
    """Return a remark for each modality whose dark end differs between cities by 0.1 reflectance or more.

    It is the first percentile of the darkest band of the first scene.
    """
    firsts: list[tuple[str, Scene]] = [(city.name, city.scenes[0]) for city in cities if city.scenes]
    remarks = []
    for modality in OPTICAL:
        ends = [(name, dark_objects(scene, modality)) for name, scene in firsts]
        known = [(name, float(dark.min())) for name, dark in ends if dark is not None]
        if len(known) < 2:
            continue
        (low_name, low), (high_name, high) = min(known, key=lambda x: x[1]), max(known, key=lambda x: x[1])
        if high - low >= OFFSET_LEFT_IN - _ROUNDING:
            remarks.append(
                f"{modality}: the darkest pixels are at {high:.2f} reflectance in {high_name} and at {low:.2f} in {low_name}: "
                "an offset that is left in, or haze; compare their processing, or give `offset:` in city.yaml"
            )
    return remarks


def _notes(name: str, stack: Modality, values: np.ndarray) -> list[str]:
    physical = unit_of_values(name, stack, values)
    if physical.unit is None:
        return _no_reflectance(stack, values)
    dark, middle, bright = np.quantile(values, (_DARK, _MIDDLE, _BRIGHT), axis=1) * physical.scale
    notes = [*_dark_notes(name, dark, physical.scale), *_bright_notes(bright)]
    return notes or _haze(stack.bands, dark, middle)


def _dark_notes(name: str, dark: np.ndarray, scale: float) -> list[str]:
    if dark.min() >= OFFSET_LEFT_IN - _ROUNDING:
        given = "-0.1" if scale == 1 else "-1000"
        level = f"the darkest pixels of every band lie at +{dark.min():.2f} reflectance or more: "
        if name != "msi":  # no other sensor is known to be delivered so
            return [level + "nothing is dark there, or an offset was left in; then give `offset:` in city.yaml"]
        return [
            f"{level}an offset of 1000 DN was probably left in (Sentinel-2 from processing baseline 04.00 on); then give "
            f"`offset: {given}` in city.yaml"
        ]
    if dark.min() <= _TWICE:
        return [
            f"the darkest pixels of a band lie at {dark.min():.2f} reflectance: an offset was probably taken off twice"
        ]
    return []


def _bright_notes(bright: np.ndarray) -> list[str]:
    if bright.max() < _DIM:
        return [
            f"the brightest pixels of all bands lie at {bright.max():.3f} reflectance: a scene of water alone, or a "
            "`scale:` that is too small"
        ]
    if bright.max() > _GLARING:
        return [
            f"1 % of the pixels of a band lie above {bright.max():.1f} reflectance: clouds, glint, or a `scale:` that is "
            "too large"
        ]
    return []


def _no_reflectance(stack: Modality, values: np.ndarray) -> list[str]:
    """Return a note if a stated scale says reflectance and the values are far above it."""
    scales = np.atleast_1d(stack.scale)
    if values.shape[-1] == 0 or not ((scales >= _DN[0]) & (scales <= _DN[1])).all():
        return []
    bright = float(np.quantile(values, _BRIGHT))
    return [f"its `scale:` says reflectance, but 1 % of the values lie above {bright:.1f}"] if bright > _GLARING else []


def _haze(bands: Sequence[Band], dark: np.ndarray, middle: np.ndarray) -> list[str]:
    """Return a note if dark objects grow darker with the wavelength, as the light scattered by air does."""
    known = [(band.wavelength_nm, index) for index, band in enumerate(bands) if band.wavelength_nm is not None]
    visible = [index for nm, index in sorted(known) if nm < _VISIBLE_NM]
    infrared = [index for nm, index in known if nm >= _VISIBLE_NM]
    if len(visible) < 2 or not infrared or middle[visible].min() > _NO_SNOW:
        return []
    first, falls = float(dark[visible[0]]), bool((np.diff(dark[visible]) < 0).all())
    if not falls or first - float(dark[infrared].min()) < _HAZE:
        return []
    return [
        f"dark pixels fall from {first:.2f} reflectance in its shortest band to {dark[infrared].min():.2f} in the infrared: "
        "haze, or reflectance at the top of the atmosphere (Level 1)"
    ]
