"""Another sensor's bands brought to those that a model was taught: by role, by wavelength, else as they are counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from c2seg.data.city import Band, City, Modality, Scene
from c2seg.data.derived import Derived
from c2seg.raster import RasterSource
from c2seg.types import Window

__all__ = ["COLORS_NM", "BandLike", "ProjectedBands", "band_weights", "match_bands"]

COLORS_NM = {"blue": (440.0, 510.0), "green": (510.0, 590.0), "red": (590.0, 690.0), "nir": (770.0, 900.0)}
"""The wavelengths by which a band without a role is taken for a color: from the first up to the second."""

_BEYOND_NM = 30.0  # how far outside a sensor's range the nearest band still stands for a wavelength


class BandLike(Protocol):
    """What bands are compared by."""

    @property
    def role(self) -> str | None: ...  # noqa: D102
    @property
    def wavelength_nm(self) -> float | None: ...  # noqa: D102


@dataclass(frozen=True)
class ProjectedBands(Derived):
    """A raster whose bands are weighted means of another's: ``weights`` float32 [wanted, own], rows of sum 1.

    Values are float32. NaN where a band that is needed holds the other raster's nodata value.
    """

    source: RasterSource
    weights: np.ndarray

    @property
    def origin(self) -> RasterSource:
        """The raster of the sensor's own bands."""
        return self.source

    @property
    def count(self) -> int:
        """Number of bands."""
        return len(self.weights)

    def read(self, window: Window) -> np.ndarray:
        """Return float32 [wanted, H, W]."""
        stored = self.source.read(window)
        values = stored.astype(np.float32)
        if self.source.nodata is not None:
            values[stored == self.source.nodata] = np.nan
        mixed = np.empty((self.count, *values.shape[1:]), np.float32)
        for row, weights in zip(mixed, self.weights, strict=True):
            used = np.flatnonzero(weights)  # a band that is not used must not spread its NaN
            row[:] = np.tensordot(weights[used], values[used], 1)
        return mixed

    def fingerprint(self) -> str:
        """Return a short text that changes when the content does."""
        return f"{self.source.fingerprint()} {self.weights.tobytes().hex()}"


def band_weights(wanted: Sequence[BandLike], own: Sequence[BandLike]) -> tuple[np.ndarray, str] | None:
    """Return weights float32 [wanted, own] that make the wanted bands of a sensor's own, and how; None if unknown.

    Bands with a role take the band of that role. Others are interpolated linearly between the two nearest wavelengths; at
    most 30 nm outside the sensor's range the outermost band stands in.
    """
    roles = [band.role for band in own]
    if all(band.role is not None and band.role in roles for band in wanted):
        weights = np.zeros((len(wanted), len(own)), np.float32)
        for row, band in zip(weights, wanted, strict=True):
            row[roles.index(band.role)] = 1
        return weights, "by role"
    if any(band.wavelength_nm is None for band in (*wanted, *own)):
        return None
    known = np.array([band.wavelength_nm for band in own], np.float64)
    order = np.argsort(known)
    known = known[order]
    goal = np.array([band.wavelength_nm for band in wanted], np.float64)
    if goal.min() < known[0] - _BEYOND_NM or goal.max() > known[-1] + _BEYOND_NM:
        return None
    columns = np.stack([np.interp(goal, known, row) for row in np.eye(len(known))], axis=1)
    weights = np.zeros((len(wanted), len(own)), np.float32)
    weights[:, order] = columns
    return weights, "by wavelength"


def match_bands(city: City, wanted: Mapping[str, Sequence[BandLike]]) -> tuple[City, tuple[str, ...]]:
    """Return the city with the wanted bands of each modality where number or order of its own differ, and what was done.

    Modalities that the city lacks, or whose bands are not known well enough to be told apart, are left as they are.
    """
    notes = []
    scenes = list(city.scenes)
    for name, bands in wanted.items():
        if name not in city.modality_names:
            continue
        own = scenes[0].modality(name).bands
        count = city.band_counts((name,))[name]
        roles = [[band.role for band in side] for side in (bands, own)]
        if count == len(bands) and (None in roles[0] or None in roles[1] or roles[0] == roles[1]):
            continue
        if len(own) != count or (found := band_weights(bands, own)) is None:
            continue
        weights, how = found
        described = tuple(Band(role=band.role, wavelength_nm=band.wavelength_nm) for band in bands)
        scenes = [_mixed(scene, name, weights, described) for scene in scenes]
        notes.append(f"{name} of {city.name}: {count} bands brought to {len(bands)} {how}")
    return replace(city, scenes=tuple(scenes)), tuple(notes)


def _mixed(scene: Scene, name: str, weights: np.ndarray, bands: tuple[Band, ...]) -> Scene:
    modality: Modality = scene.modality(name)
    mixed = replace(modality, source=ProjectedBands(modality.source, weights), bands=bands)
    return replace(scene, modalities={**scene.modalities, name: mixed})
