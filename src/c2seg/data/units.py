"""Units of radar images: decibel or linear power. One trained on and the other predicted gives a wrong map."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from c2seg.data.city import City, blocks
from c2seg.types import Window

__all__ = ["radar_unit", "radar_unit_of", "units_note"]

_WINDOWS = 16
_SIDE_PX = 256


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
    samples = []
    windows = list(blocks(scene.grid.window, _SIDE_PX))
    for index in np.unique(np.linspace(0, len(windows) - 1, _WINDOWS).astype(int)):
        window: Window = windows[index]
        values, valid = scene.read("sar", window)
        samples.append(values[:, valid])
    values = np.concatenate(samples, axis=1)
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
