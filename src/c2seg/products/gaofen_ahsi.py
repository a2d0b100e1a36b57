"""Bands of Gaofen-5 AHSI: wavelengths and widths, gains and offsets, from the tables that come with the images.

Tables are text, a line a band: ``center, width`` in ``*Spectralresponse*`` and ``gain, offset`` in ``*RadCal*``, one for each
detector (VNIR, 150 bands; SWIR, 180 bands), with commas or spaces.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from c2seg.errors import DataError
from c2seg.products.delivery import Delivery
from c2seg.products.gaofen_names import GaofenImage
from c2seg.products.hyper import CubeBand, resolve_overlap

__all__ = ["AhsiBands", "ahsi_bands"]

_COUNTS = {"VNIR": 150, "SWIR": 180}
_OF_PART = {"VN": ("VNIR",), "SW": ("SWIR",)}
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class AhsiBands:
    """All bands, those without the overlap of detectors, and the images with the detectors that each holds."""

    every: Sequence[CubeBand]
    usable: Sequence[CubeBand]
    images: Sequence[tuple[GaofenImage, tuple[str, ...]]]
    notes: tuple[str, ...]
    calibration: str
    tables: tuple[str, ...]


def ahsi_bands(delivery: Delivery, images: Sequence[GaofenImage], path: Path) -> AhsiBands:
    """Return the bands of a delivery. Raises DataError for images or tables with other numbers of bands."""
    held = [(image, _detectors(image)) for image in images]
    detectors = [detector for _, part in held for detector in part]
    if len(set(detectors)) < len(detectors):
        raise DataError(f"{path} holds several images of one detector; put each product into a folder of its own")
    responses = {d: _table(delivery, d, "Spectral", path) for d in detectors}
    gains = {d: _table(delivery, d, "RadCal", path) for d in detectors}
    bands: list[CubeBand] = []
    for _, part in held:
        before = 0
        for detector in part:
            bands += _bands(detector, before, responses[detector], gains[detector])
            before += _COUNTS[detector]
    notes = []
    known = all(table is not None for table in responses.values())
    calibrated = all(table is not None for table in gains.values())
    if not known:
        notes.append(
            "the delivery lacks its tables of spectral responses: wavelengths are unknown, and nothing is resampled"
        )
    if calibrated:
        notes.append(
            "values are at-sensor radiance by the delivery's calibration tables; nothing corrects the atmosphere"
        )
    else:
        notes.append(
            "numbers are digital counts: the delivery lacks its calibration tables; nothing corrects the atmosphere"
        )
    names = tuple(name for tables in (responses, gains) for table in tables.values() if table for name in (table[0],))
    every = sorted(bands, key=lambda band: band.wavelength_nm) if known else bands
    usable = resolve_overlap(every, "SWIR") if known else every
    calibration = "gain and offset of the RadCal tables" if calibrated else "none"
    return AhsiBands(every, usable, held, tuple(notes), calibration, names)


def _detectors(image: GaofenImage) -> tuple[str, ...]:
    """Return which detectors an image holds, by its name and by its number of bands."""
    both = tuple(_COUNTS)
    part = _OF_PART.get(image.name.part)
    for detectors in (part,) if part else (both, ("SWIR",), ("VNIR",)):
        if image.count == sum(_COUNTS[detector] for detector in detectors):
            return detectors
    expected = f"{sum(_COUNTS[d] for d in part)}" if part else "150, 180 or 330"
    raise DataError(f"{image.file} has {image.count} bands, {expected} are expected; download it again")


def _table(delivery: Delivery, detector: str, what: str, path: Path) -> tuple[str, np.ndarray] | None:
    """Return the name of a table and its numbers float64 [bands, 2]; None if there is no such table."""
    names = delivery.find(rf"AHSI.*({detector}.*{what}|{what}.*{detector}).*\.(raw|txt|csv)$")
    if not names:
        return None
    where = f"{delivery.path}: {names[0]}"
    rows = []
    for line in delivery.read(names[0], _MOST_BYTES).decode("utf-8", "replace").splitlines():
        parts = [part for part in re.split(r"[\s,;]+", line) if part]
        if not parts:
            continue
        try:
            rows.append([float(parts[0]), float(parts[1]) if len(parts) > 1 else 0.0])
        except ValueError:
            raise DataError(f"{where}: {line.strip()[:40]!r} is no row of two numbers; download it again") from None
    if len(rows) != _COUNTS[detector]:
        raise DataError(
            f"{where} has {len(rows)} rows, the {detector} detector of {path.name} {_COUNTS[detector]} bands"
        )
    return names[0], np.array(rows)


def _bands(
    detector: str, before: int, response: tuple[str, np.ndarray] | None, gain: tuple[str, np.ndarray] | None
) -> list[CubeBand]:
    """Return the bands of a detector that begin after ``before`` bands of their image."""
    count = _COUNTS[detector]
    centers, widths = response[1].T if response else (np.zeros(count), np.zeros(count))
    gains, offsets = gain[1].T if gain else (np.ones(count), np.zeros(count))
    return [
        CubeBand(
            f"AHSI {detector} {k + 1}", before + k + 1, float(centers[k]), float(widths[k]) or None, float(gains[k]),
            float(offsets[k]), detector,
        )
        for k in range(count)
    ]  # fmt: skip
