"""Band harmonization: match the bands of another sensor to those a model was trained on, by role or by wavelength."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from c2seg.data.city import Band, City, Modality, Scene
from c2seg.data.derived import Derived
from c2seg.raster import RasterSource
from c2seg.types import Window

__all__ = ["COLORS_NM", "ProjectedBands", "band_weights", "match_bands"]

COLORS_NM = {"blue": (440.0, 510.0), "green": (510.0, 590.0), "red": (590.0, 690.0), "nir": (770.0, 900.0)}
"""Range of wavelengths of each color, for bands without a role. The upper limit is exclusive."""

_BEYOND_NM = 30.0  # distance beyond a sensor's range up to which the outermost band is used


@dataclass(frozen=True)
class ProjectedBands(Derived):
    """A raster whose bands are weighted means of the original bands: ``weights`` float32 [bands, original bands].

    The rows of ``weights`` sum to 1. Values are float32. They are NaN where a band with a weight is nodata.
    """

    source: RasterSource
    weights: np.ndarray

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
        projected = np.empty((self.count, *values.shape[1:]), np.float32)
        for row, weights in zip(projected, self.weights, strict=True):
            used = np.flatnonzero(weights)  # NaN of an unused band must not enter
            row[:] = np.tensordot(weights[used], values[used], 1)
        return projected

    def fingerprint(self) -> str:
        """Return a text that depends on the original raster and on the weights."""
        return f"{self.source.fingerprint()} {self.weights.tobytes().hex()}"


def band_weights(bands: Sequence[Band], available: Sequence[Band]) -> tuple[np.ndarray, str] | None:
    """Return weights float32 [bands, available] that compute bands from the available ones, and the kind of match.

    If all bands have a role that is available, they are matched by role. Otherwise they are interpolated linearly between the
    nearest wavelengths. Up to 30 nm beyond the sensor's range, the outermost band is used. None if no match is possible.
    """
    roles = [band.role for band in available]
    if all(band.role is not None and band.role in roles for band in bands):
        weights = np.zeros((len(bands), len(available)), np.float32)
        for row, band in zip(weights, bands, strict=True):
            row[roles.index(band.role)] = 1
        return weights, "by role"
    if any(band.wavelength_nm is None for band in (*bands, *available)):
        return None
    known = np.array([band.wavelength_nm for band in available], np.float64)
    order = np.argsort(known)
    known = known[order]
    targets = np.array([band.wavelength_nm for band in bands], np.float64)
    if targets.min() < known[0] - _BEYOND_NM or targets.max() > known[-1] + _BEYOND_NM:
        return None
    columns = np.stack([np.interp(targets, known, row) for row in np.eye(len(known))], axis=1)
    weights = np.zeros((len(bands), len(available)), np.float32)
    weights[:, order] = columns
    return weights, "by wavelength"


def match_bands(city: City, inputs: Mapping[str, Sequence[Band]]) -> tuple[City, tuple[str, ...]]:
    """Return the city with the bands ``inputs`` where number or order of its bands differ, and notes on the matches.

    A modality does not change if the city lacks it or if its bands cannot be matched by role or wavelength.
    """
    notes = []
    scenes = list(city.scenes)
    for name, bands in inputs.items():
        if name not in city.modality_names:
            continue
        available = scenes[0].modality(name).bands
        count = city.band_counts((name,))[name]
        roles = [[band.role for band in side] for side in (bands, available)]
        if count == len(bands) and (None in roles[0] or None in roles[1] or roles[0] == roles[1]):
            continue
        if len(available) != count or (match := band_weights(bands, available)) is None:
            continue
        weights, how = match
        described = tuple(Band(role=band.role, wavelength_nm=band.wavelength_nm) for band in bands)
        scenes = [_with_bands(scene, name, weights, described) for scene in scenes]
        notes.append(f"{name} of {city.name}: {count} bands matched to {len(bands)} {how}")
    return replace(city, scenes=tuple(scenes)), tuple(notes)


def _with_bands(scene: Scene, name: str, weights: np.ndarray, bands: tuple[Band, ...]) -> Scene:
    modality: Modality = scene.modality(name)
    projected = replace(modality, source=ProjectedBands(modality.source, weights), bands=bands)
    return replace(scene, modalities={**scene.modalities, name: projected})
