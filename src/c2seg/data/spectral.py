"""Band harmonization: match a city's bands to those a model was trained on, by name, by role, by their responses to wavelength
where widths are known, or by wavelength alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from c2seg.data.city import Band, City, Modality, Scene
from c2seg.data.derived import Derived
from c2seg.data.physical_layers import with_physical_layers
from c2seg.data.responses import response_weights
from c2seg.errors import DataError
from c2seg.raster import RasterSource
from c2seg.types import Window

__all__ = ["COLORS_NM", "ProjectedBands", "band_weights", "differing_bands", "match_bands"]

COLORS_NM = {"blue": (440.0, 510.0), "green": (510.0, 590.0), "red": (590.0, 690.0), "nir": (770.0, 900.0)}
"""Range of wavelengths of each color, for bands without a role. The upper limit is exclusive."""

_SAME_NM = 10.0  # the same band of two instruments of one series differs by less
_BEYOND_NM = 30.0  # distance beyond a sensor's range up to which the outermost band is used


@dataclass(frozen=True)
class ProjectedBands(Derived):
    """A raster whose bands are weighted means of the original bands: ``weights`` float32 [bands, original bands].

    The rows of ``weights`` sum to 1. Values are float32. They are NaN where a band with a weight is nodata.
    """

    source: RasterSource
    weights: np.ndarray
    scale: np.ndarray | None = None
    offset: np.ndarray | None = None
    """float32 [original bands], applied to the original bands first; None: the modality's count."""

    @property
    def origin(self) -> RasterSource:
        """The raster of the sensor's bands."""
        return self.source

    @property
    def count(self) -> int:
        """Number of bands."""
        return len(self.weights)

    def read(self, window: Window) -> np.ndarray:
        """Return float32 [C, H, W]."""
        raw = self.source.read(window)
        values = raw.astype(np.float32)
        if self.source.nodata is not None:
            values[raw == self.source.nodata] = np.nan
        if self.scale is not None and self.offset is not None:
            values = values * self.scale[:, None, None] + self.offset[:, None, None]
        projected = np.empty((self.count, *values.shape[1:]), np.float32)
        for row, weights in zip(projected, self.weights, strict=True):
            used = np.flatnonzero(weights)  # NaN of an unused band must not enter
            row[:] = np.tensordot(weights[used], values[used], 1)
        return projected

    def fingerprint(self) -> str:
        """Return a text that depends on the original raster and on the weights."""
        parts = [array.tobytes().hex() for array in (self.weights, self.scale, self.offset) if array is not None]
        return " ".join([self.source.fingerprint(), *parts])


def band_weights(bands: Sequence[Band], available: Sequence[Band]) -> tuple[np.ndarray, str] | None:
    """Return weights float32 [bands, available] that compute bands from the available ones, and the kind of match.

    Bands are matched by role if all have a role that is available, else by name if all names are. Otherwise they are
    computed by the bands' responses if both sides have wavelengths and widths (``response_weights``), else interpolated
    linearly between the nearest wavelengths. Up to 30 nm beyond the sensor's range, the outermost band is used. None if no
    match is possible.
    """
    roles = [band.role for band in available]
    if all(band.role is not None and band.role in roles for band in bands):
        weights = np.zeros((len(bands), len(available)), np.float32)
        for row, band in zip(weights, bands, strict=True):
            row[roles.index(band.role)] = 1
        return weights, "by role"
    if (named := _by_name(bands, available)) is not None:
        return named, "by name"
    if any(band.wavelength_nm is None for band in (*bands, *available)):
        return None
    known, targets = (np.array([band.wavelength_nm for band in side], np.float64) for side in (available, bands))
    if targets.min() < known.min() - _BEYOND_NM or targets.max() > known.max() + _BEYOND_NM:
        return None
    if all(band.fwhm_nm is not None for band in (*bands, *available)):
        return _by_response(bands, targets, available, known)
    order = np.argsort(known)
    known = known[order]
    columns = np.stack([np.interp(targets, known, row) for row in np.eye(len(known))], axis=1)
    weights = np.zeros((len(bands), len(available)), np.float32)
    weights[:, order] = columns
    return weights, "by wavelength"


def _by_response(
    bands: Sequence[Band], centers: np.ndarray, available: Sequence[Band], known: np.ndarray
) -> tuple[np.ndarray, str]:
    widths, spreads = (np.array([band.fwhm_nm for band in side], np.float64) for side in (bands, available))
    result = response_weights(centers, widths, known, spreads)
    gaps = [f"{center:.0f}" for center in centers[result.in_gaps]]
    if not gaps:
        return result.weights, "by band responses"
    shown = ", ".join(gaps[:8]) + (", ..." if len(gaps) > 8 else "")
    return result.weights, f"by band responses ({len(gaps)} in gaps of the sensor are interpolated: {shown} nm)"


def match_bands(city: City, inputs: Mapping[str, Sequence[Band]]) -> tuple[City, tuple[str, ...]]:
    """Return the city with the bands ``inputs`` where number, order or wavelengths of its bands differ, and notes on it.

    A modality does not change if the city lacks it, if nothing tells its bands apart, or if their number differs and they
    cannot be matched. Physical layers among ``inputs`` are made of the city's own bands. Raises DataError for bands of the
    same number that contradict ``inputs``, and for values of unknown unit where a physical layer is needed.
    """
    city, remarks = with_physical_layers(city, inputs)
    notes = list(remarks)
    scenes = list(city.scenes)
    for name, bands in inputs.items():
        if name not in city.modality_names:
            continue
        available = scenes[0].modality(name).bands
        count = city.band_counts((name,))[name]
        if len(available) != count or (count == len(bands) and not differing_bands(bands, available)):
            continue
        if (match := band_weights(bands, available)) is None:
            if count == len(bands):
                raise DataError(f"{name} of {city.name}: {_contradiction(bands, available)}")
            continue
        weights, how = match
        if np.array_equal(weights, np.eye(*weights.shape, dtype=np.float32)):
            continue
        scenes = [_with_bands(scene, name, weights, bands) for scene in scenes]
        notes.append(f"{name} of {city.name}: {count} bands matched to {len(bands)} {how}")
    return replace(city, scenes=tuple(scenes)), tuple(notes)


def differing_bands(bands: Sequence[Band], available: Sequence[Band]) -> bool:
    """Return whether names, roles or wavelengths say that bands of the same number are not the same in the same order.

    Roles count if all bands have one, else names if each band has its own and some are common to both sides, else wavelengths
    if they differ by more than 10 nm.
    """
    roles = [[band.role for band in side] for side in (bands, available)]
    if None not in roles[0] and None not in roles[1]:
        return roles[0] != roles[1]
    here, there = _names(bands), _names(available)
    if here and there and set(here) & set(there):
        return here != there
    pairs = [(a.wavelength_nm, b.wavelength_nm) for a, b in zip(bands, available, strict=True)]
    return all(a and b for a, b in pairs) and any(abs((a or 0) - (b or 0)) > _SAME_NM for a, b in pairs)


def _names(bands: Sequence[Band]) -> list[str]:
    """Return the names of bands without their case; none if one has no name of its own."""
    names = [band.name.strip().casefold() for band in bands]
    return names if all(names) and len(set(names)) == len(names) else []


def _is_counted(names: Sequence[str]) -> bool:
    """Return whether names are one text with the numbers from 0 or 1 on."""
    numbers = [re.search(r"\d+$", name) for name in names]
    return [int(match[0]) for match in numbers if match] in (
        list(range(len(names))), list(range(1, len(names) + 1))
    )  # fmt: skip


def _by_name(bands: Sequence[Band], available: Sequence[Band]) -> np.ndarray | None:
    here, there = _names(bands), _names(available)
    counted = _is_counted(here) and _is_counted(there)  # b1, b2, ... of any sensor
    if not here or not set(here) <= set(there) or (counted and len(here) != len(there)):
        return None
    weights = np.zeros((len(bands), len(available)), np.float32)
    for row, name in zip(weights, here, strict=True):
        row[there.index(name)] = 1
    return weights


def _contradiction(bands: Sequence[Band], available: Sequence[Band]) -> str:
    """Return how bands of the same number differ, and what to do."""
    for key in ("name", "role", "wavelength_nm"):
        here, there = ([str(getattr(band, key)) for band in side] for side in (bands, available))
        if here != there:
            shown = ["; ".join(side[:8]) + ("; ..." if len(side) > 8 else "") for side in (there, here)]
            return (
                f"its bands ({shown[0]}) contradict those that are needed ({shown[1]}); choose the same bands with `keep:`, or "
                "describe them with `bands:` in city.yaml"
            )
    return "its bands contradict those that are needed"


def _with_bands(scene: Scene, name: str, weights: np.ndarray, bands: Sequence[Band]) -> Scene:
    """Return the scene with weighted means of a modality's bands; scale and offset of its own for each band count first."""
    stack: Modality = scene.modality(name)
    source = ProjectedBands(stack.source, weights)
    if isinstance(stack.scale, tuple) or isinstance(stack.offset, tuple):
        scale, offset = (
            np.asarray(x, np.float32) * np.ones(stack.count, np.float32) for x in (stack.scale, stack.offset)
        )
        source, stack = replace(source, scale=scale, offset=offset), replace(stack, scale=1.0, offset=0.0)
    return replace(scene, modalities={**scene.modalities, name: replace(stack, source=source, bands=tuple(bands))})
