"""Units of radar images: decibel or linear power. One trained on and the other predicted gives a wrong map."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from c2seg.data.city import City
from c2seg.data.remarks import sampled

__all__ = ["radar_unit", "radar_unit_of", "units_note"]


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
