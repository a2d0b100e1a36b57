"""Physical units of images: reflectance, or radar backscatter in dB or linear power; from how numbers are stored and a sample.

A model that was trained on one unit and predicts another gives a wrong map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from c2seg.data.city import City, Modality, Scene
from c2seg.data.samples import sampled, sampled_or_nothing
from c2seg.data.statistics import BandStatistics
from c2seg.records import Record

__all__ = [
    "OFFSET_LEFT_IN",
    "OPTICAL",
    "PhysicalUnit",
    "dark_objects",
    "in_one_unit",
    "in_physical_units",
    "physical_units",
    "radar_unit",
    "radar_unit_of",
    "reflectance_notes",
    "too_bright",
    "unit_of_values",
    "units_note",
]

OPTICAL = ("msi", "hsi")
OFFSET_LEFT_IN = 0.1
"""Reflectance: Sentinel-2's from processing baseline 04.00 on, 1000 of its numbers."""
_ROUNDING = 1e-3
_DARK = 0.01  # quantile
_LEAST_PIXELS = 400
_DN = (1e-5, 1e-3)  # scales of integers that hold reflectance
_BRIGHTEST = 2.0  # reflectance: what exceeds it is no reflectance
_DARKEST = -0.2
_MOST_DN = 20_000.0
_DARKEST_MEAN, _BRIGHTEST_MEAN, _WIDEST = -0.05, 1.0, 0.5  # mean and deviation of a band's reflectance over a city
_STRONGEST_MEAN = 10.0  # linear power over a city; gray values are above


class PhysicalUnit(Record):
    """What the scaled values of a modality mean: physical value = scaled value x ``scale`` + ``offset``.

    Reflectance lies between 0 and about 1. An ``offset`` that the pixels show was left in is taken off by it.
    """

    unit: Literal["reflectance", "dB", "linear power"] | None = None
    """None: not known."""
    scale: float = 1.0
    offset: float = 0.0


def physical_units(city: City, modalities: Sequence[str]) -> dict[str, PhysicalUnit]:
    """Return the unit of each modality from a sample of the city's first scene; of none where nothing tells it."""
    scenes = city.scenes[:1]
    return {
        name: unit_of_values(name, scene.modality(name), sampled_or_nothing(scene, name))
        for scene in scenes
        for name in modalities
        if name in scene.modalities
    }


def in_one_unit(name: str, here: BandStatistics, there: BandStatistics) -> bool:
    """Return whether the values of a modality of two cities are in one unit, as far as their statistics tell.

    Optical images: both are reflectance, once ``in_physical_units`` has scaled what it can. Radar: both in dB, or both in
    linear power. Of other modalities no unit is known.
    """
    if name in OPTICAL:
        return all(_is_reflectance(part) for part in (here, there))
    if name != "sar":
        return False
    units = [radar_unit(part.mean, part.minimum) for part in (here, there)]
    powers = all((part.mean <= _STRONGEST_MEAN).all() for part in (here, there))
    return units[0] is not None and units[0] == units[1] and powers


def too_bright(scene: Scene, name: str) -> float | None:
    """Return the 99th percentile of a sample of an optical modality if it is no reflectance for that; else None."""
    values = sampled_or_nothing(scene, name) if name in OPTICAL else np.empty(0)
    bright = float(np.quantile(values, 0.99)) if values.size else 0.0
    return bright if bright > _BRIGHTEST else None


def _is_reflectance(band: BandStatistics) -> bool:
    inside = (band.mean > _DARKEST_MEAN) & (band.mean <= _BRIGHTEST_MEAN) & (band.std <= _WIDEST)
    return bool(inside.all())


def in_physical_units(city: City) -> tuple[City, tuple[str, ...]]:
    """Return the city with reflectance of all optical images whose unit is known, and notes on what changed.

    Numbers are scaled, and an offset that was left in is taken off, scene by scene. Other modalities do not change.
    """
    notes: list[str] = []
    scenes = tuple(_physical_scene(scene, notes) for scene in city.scenes)
    return replace(city, scenes=scenes), tuple(notes)


def _physical_scene(scene: Scene, notes: list[str]) -> Scene:
    changed: dict[str, Modality] = {}
    for name in OPTICAL:
        if name not in scene.modalities:
            continue
        stack = scene.modality(name)
        unit = unit_of_values(name, stack, sampled_or_nothing(scene, name))
        if (unit.scale, unit.offset) == (1.0, 0.0):
            continue
        scale, offset = (np.asarray(part, np.float64) * unit.scale for part in (stack.scale, stack.offset))
        changed[name] = replace(stack, scale=_amount(scale), offset=_amount(offset + unit.offset))
        factor = f" x {unit.scale:g}" if unit.scale != 1 else ""
        notes.append(
            f"{name} of {scene.name}: read as reflectance = value{factor}{f' {unit.offset:+g}' if unit.offset else ''}"
        )
    return replace(scene, modalities={**scene.modalities, **changed})


def _amount(values: np.ndarray) -> float | tuple[float, ...]:
    return float(values) if values.ndim == 0 else tuple(values.tolist())


def unit_of_values(name: str, stack: Modality, values: np.ndarray) -> PhysicalUnit:
    """Return the unit of scaled values [C, n] of a modality named ``name``."""
    if values.shape[-1] < _LEAST_PIXELS:
        return PhysicalUnit()
    if name == "sar" and stack.is_raw and stack.source.dtype.kind != "f":
        return PhysicalUnit()  # gray values
    if name == "sar":
        unit = radar_unit(values.mean(axis=1), values.min(axis=1))
        return PhysicalUnit(unit="linear power" if unit == "linear" else "dB" if unit else None)
    scale = _to_reflectance(stack, values) if name in OPTICAL else None
    if scale is None:
        return PhysicalUnit()
    left_in = float(np.quantile(values, _DARK, axis=1).min()) * scale >= OFFSET_LEFT_IN - _ROUNDING
    return PhysicalUnit(unit="reflectance", scale=scale, offset=-OFFSET_LEFT_IN if left_in else 0.0)


def dark_objects(scene: Scene, name: str) -> np.ndarray | None:
    """Return the first percentile of each band as reflectance, float64 [C]; None if the values are no known reflectance."""
    values = sampled_or_nothing(scene, name)
    if values.shape[-1] < _LEAST_PIXELS:
        return None
    scale = _to_reflectance(scene.modality(name), values)
    return None if scale is None else np.asarray(np.quantile(values, _DARK, axis=1) * scale)


def _to_reflectance(stack: Modality, values: np.ndarray) -> float | None:
    """Return the factor to reflectance: 1 if values are scaled, 1e-4 for plain 16-bit integers of that range, else None."""
    bright, dark = float(np.quantile(values, 0.99)), float(np.quantile(values, _DARK))
    scales = np.atleast_1d(stack.scale)
    if ((scales >= _DN[0]) & (scales <= _DN[1])).all() or stack.source.dtype.kind == "f":
        return 1.0 if 0 < bright <= _BRIGHTEST and dark > _DARKEST else None
    is_plain = stack.is_raw and stack.source.dtype in (np.dtype("uint16"), np.dtype("int16"))
    return 1e-4 if is_plain and 0.05 * _MOST_DN <= bright <= _MOST_DN else None


def radar_unit(mean: np.ndarray, minimum: np.ndarray) -> str | None:
    """Return what values [C] of radar bands look like.

    ``linear``: no value is negative. ``dB``: the mean of every band is negative. None: neither.
    """
    if (np.asarray(minimum) >= 0).all():
        return "linear"
    return "dB" if (np.asarray(mean) < 0).all() else None


def radar_unit_of(city: City) -> str | None:
    """Return the unit of a city's modality ``sar`` from up to 16 windows of its first scene; None if it has none."""
    if not city.scenes or "sar" not in city.scenes[0].modalities:
        return None
    scene = city.scenes[0]
    values = sampled(scene, "sar")
    return radar_unit(values.mean(axis=1), values.min(axis=1)) if values.shape[1] else None


def units_note(units: Mapping[str, str | None]) -> str | None:
    """Return a note if radar images by name of their city look like decibel in one and linear power in another."""
    by_unit = {unit: name for name, unit in units.items() if unit}
    if len(by_unit) < 2:
        return None
    return (
        f"sar of {by_unit['linear']} looks like linear power (no value is negative), that of {by_unit['dB']} like dB; their "
        "units differ, convert one (10 log10)"
    )


def reflectance_notes(units: Mapping[str, Mapping[str, PhysicalUnit]]) -> list[str]:
    """Return a note for each optical modality that one city gives in reflectance and another in numbers of another scale.

    ``units``: by name of the city, then by modality.
    """
    notes = []
    for modality in OPTICAL:
        known = {city: of_city[modality] for city, of_city in units.items() if modality in of_city}
        scales = {unit.scale: city for city, unit in known.items() if unit.unit == "reflectance"}
        if len(scales) > 1:
            fine, coarse = scales[min(scales)], scales[max(scales)]
            notes.append(
                f"{modality} of {coarse} is reflectance, that of {fine} is reflectance x {1 / min(scales):.0f}; give "
                f"`scale: {min(scales):g}` in the city.yaml of {fine}"
            )
    return notes
