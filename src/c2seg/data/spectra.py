"""Whether band k means the same wavelength in two cities: landmarks of their mean spectra.

Vegetation rises steeply at 715 nm (the red edge), and water vapour cuts dips at 940 and 1140 nm. Where wavelengths are not
published, the band numbers of these landmarks tell whether two cubes are aligned.
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
_EDGE = 5  # bands on either side of the red edge that its climb is measured over
_LEAST_CLIMB = 0.12  # of the spectrum's range; a winter city climbs 0.18
_NEAR = 12  # bands within which a dip of another city counts as the same one


@dataclass(frozen=True, slots=True)
class Landmarks:
    """0-based bands of the red edge (steepest rise; None if there is none) and of the dips, with the number of bands."""

    bands: int
    red_edge: int | None
    dips: tuple[int, ...]


def find_landmarks(mean: np.ndarray) -> Landmarks | None:
    """Return the landmarks of a mean spectrum [C] in band order; None for less than 30 bands or a flat spectrum."""
    from scipy.signal import find_peaks

    spread = float(np.ptp(mean)) if len(mean) else 0.0
    if len(mean) < _LEAST_BANDS or not np.isfinite(spread) or spread <= 0:
        return None
    rise = np.convolve(np.diff(mean), np.ones(3) / 3, "same")
    steepest = int(np.argmax(rise[: len(mean) // 2]))
    dips, _ = find_peaks(-mean, prominence=_LEAST_DEPTH * spread, width=(None, 12))
    # Before the red edge lie the absorption bands of leaves, which come and go with the season.
    found = tuple(int(dip) for dip in dips if dip > steepest)
    climb = mean[min(steepest + _EDGE, len(mean) - 1)] - mean[max(0, steepest - _EDGE)]
    return Landmarks(len(mean), steepest if climb > _LEAST_CLIMB * spread else None, found)


def compare_landmarks(here: Landmarks, there: Landmarks, name: str) -> list[str]:
    """Return a note per landmark that lies at another band than in the city ``name``; empty if the bands agree."""
    notes = []
    if here.bands != there.bands:
        notes.append(f"{here.bands} bands against {there.bands} of {name}")
    if here.red_edge is not None and there.red_edge is not None and abs(here.red_edge - there.red_edge) > 1:
        notes.append(f"the red edge lies at band {here.red_edge + 1}, in {name} at band {there.red_edge + 1}")
    if not there.dips:
        return notes
    moved = []
    for dip in here.dips:
        nearest = min(there.dips, key=lambda other: abs(other - dip))
        if 1 < abs(nearest - dip) <= _NEAR:
            moved.append(f"{dip + 1} against {nearest + 1}")
    if moved:
        notes.append(f"absorption dips lie at other bands than in {name}: {', '.join(moved)}")
    return notes


def wavelength_notes(wavelengths_nm: Sequence[float | None]) -> list[str]:
    """Return a note where stated wavelengths do not ascend from band to band."""
    back = [k + 2 for k, (a, b) in enumerate(pairwise(wavelengths_nm)) if a is not None and b is not None and b <= a]
    if not back:
        return []
    return [
        f"wavelengths step back at band {number_ranges(back)} (overlapping spectrometers): sort by wavelength before "
        "smoothing or resampling"
    ]
