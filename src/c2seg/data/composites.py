"""Which bands make a picture: true and false color by the bands' roles or wavelengths, else what can be shown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from c2seg.data.city import Modality

__all__ = ["Composite", "composites"]

_VISIBLE_NM = {"red": 660.0, "green": 560.0, "blue": 490.0, "nir": 860.0}
_FALSE_NM = (860.0, 1650.0, 660.0)  # near infrared, shortwave infrared, red: vegetation, moisture, built


@dataclass(frozen=True)
class Composite:
    """A picture of one modality: three bands (or one, gray), 0-based; ``differences`` adds a third, first - second."""

    modality: str
    title: str
    bands: tuple[int, ...]
    difference: bool = False


def composites(modality: Modality) -> list[Composite]:
    """Return true and false color as far as the bands' roles or wavelengths are known, else what can be shown.

    Without either, three bands are shown in the order of the file (red, green, blue), four in the order of the challenge
    (blue, green, red, near infrared), more as three bands from the whole spectrum. Two bands are shown with their difference.
    """
    name, count = modality.name.upper(), modality.count
    known = {role: _band_of(modality, role) for role in _VISIBLE_NM}
    shown: list[Composite] = []
    if all(known[role] is not None for role in ("red", "green", "blue")):
        shown.append(_named(modality, "true color", [known[r] for r in ("red", "green", "blue")]))
        false = _false_color(modality, known)
        if false:
            shown.append(_named(modality, "false color", false))
    elif count == 4 and modality.name == "msi":
        shown.append(_named(modality, "true color", [2, 1, 0]))
        shown.append(_named(modality, "false color", [3, 2, 1]))
    if shown:
        return shown
    if count == 1:
        return [Composite(modality.name, f"{name} ({_label(modality, 0)})", (0,))]
    if count == 2:
        labels = " / ".join([_label(modality, 0), _label(modality, 1), "difference"])
        return [Composite(modality.name, f"{name} ({labels})", (0, 1), difference=True)]
    if count <= 4:
        return [_named(modality, "in file order", [0, 1, 2])]
    return [_named(modality, "three bands", [int(count * share) for share in (0.6, 0.35, 0.12)])]


def _named(modality: Modality, what: str, bands: Sequence[int | None]) -> Composite:
    indices = tuple(int(b) for b in bands if b is not None)
    labels = ", ".join(_label(modality, b) for b in indices)
    title = f"{modality.name.upper()} {what}"
    return Composite(modality.name, title if labels == "band 1, band 2, band 3" else f"{title} ({labels})", indices)


def _label(modality: Modality, band: int) -> str:
    entry = modality.bands[band] if band < len(modality.bands) else None
    if entry and entry.wavelength_nm:
        return f"{entry.wavelength_nm:.0f} nm"
    return (entry and (entry.role or entry.name)) or f"band {band + 1}"


def _band_of(modality: Modality, role: str) -> int | None:
    roles = [b.role for b in modality.bands]
    return roles.index(role) if role in roles else _nearest(modality, _VISIBLE_NM[role], 50.0)


def _false_color(modality: Modality, known: Mapping[str, int | None]) -> list[int | None] | None:
    infrared = [_nearest(modality, nm, 100.0) for nm in _FALSE_NM]
    if all(band is not None for band in infrared):
        return list(infrared)
    return [known["nir"], known["red"], known["green"]] if known["nir"] is not None else None


def _nearest(modality: Modality, nm: float, tolerance_nm: float) -> int | None:
    distances = [abs((b.wavelength_nm or math.inf) - nm) for b in modality.bands]
    best = int(np.argmin(distances)) if distances else 0
    return best if distances and distances[best] <= tolerance_nm else None
