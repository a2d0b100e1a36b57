"""Landmarks of mean spectra, to test whether band k has the same wavelength in two cities.

Reflectance of vegetation rises steeply at 715 nm (the red edge). Water vapor causes dips at 940 and 1140 nm. If wavelengths
are not published, the bands of these landmarks show whether two cubes are aligned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from c2seg.errors import number_ranges

__all__ = ["Landmarks", "compare_landmarks", "find_landmarks", "wavelength_notes"]

_LEAST_BANDS = 30
_LEAST_DEPTH = 0.04  # of the spectrum's range
_EDGE = 5  # bands on both sides of the red edge, to measure its rise
_LEAST_RISE = 0.12  # of the spectrum's range; it is 0.18 for a city in winter
_NEAR = 12  # distance in bands up to which two dips are the same


@dataclass(frozen=True, slots=True)
class Landmarks:
    """Number of bands, and 0-based bands of the red edge (steepest rise; None if there is none) and of the dips."""

    bands: int
    red_edge: int | None
    dips: tuple[int, ...]


def find_landmarks(mean: np.ndarray) -> Landmarks | None:
    """Return the landmarks of a mean spectrum [C]; None for less than 30 bands or a flat spectrum."""
    from scipy.signal import find_peaks

    extent = float(np.ptp(mean)) if len(mean) else 0.0
    if len(mean) < _LEAST_BANDS or not np.isfinite(extent) or extent <= 0:
        return None
    rise = np.convolve(np.diff(mean), np.ones(3) / 3, "same")
    steepest = int(np.argmax(rise[: len(mean) // 2]))
    dips, _ = find_peaks(-mean, prominence=_LEAST_DEPTH * extent, width=(None, 12))
    # Dips before the red edge are absorption bands of leaves, which depend on the season.
    dips_beyond = tuple(int(dip) for dip in dips if dip > steepest)
    height = mean[min(steepest + _EDGE, len(mean) - 1)] - mean[max(0, steepest - _EDGE)]
    return Landmarks(len(mean), steepest if height > _LEAST_RISE * extent else None, dips_beyond)


def compare_landmarks(here: Landmarks, there: Landmarks, name: str) -> list[str]:
    """Return a note for each landmark at another band than in the city ``name``; empty if the bands agree."""
    notes = []
    if here.bands != there.bands:
        notes.append(f"{here.bands} bands, {name} has {there.bands}")
    if here.red_edge is not None and there.red_edge is not None and abs(here.red_edge - there.red_edge) > 1:
        notes.append(f"the red edge is at band {here.red_edge + 1}, in {name} at band {there.red_edge + 1}")
    if not there.dips:
        return notes
    moved = []
    for dip in here.dips:
        nearest = min(there.dips, key=lambda other: abs(other - dip))
        if 1 < abs(nearest - dip) <= _NEAR:
            moved.append(f"{dip + 1} instead of {nearest + 1}")
    if moved:
        notes.append(f"absorption dips are at other bands than in {name}: {', '.join(moved)}")
    return notes


def wavelength_notes(wavelengths_nm: Sequence[float | None]) -> list[str]:
    """Return a note if the given wavelengths are not ascending."""
    back = [k + 2 for k, (a, b) in enumerate(pairwise(wavelengths_nm)) if a is not None and b is not None and b <= a]
    if not back:
        return []
    return [
        f"wavelengths decrease at band {number_ranges(back)} (overlapping spectrometers): sort by wavelength before "
        "smoothing or resampling"
    ]
