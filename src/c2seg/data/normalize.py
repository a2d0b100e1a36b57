"""Normalization of bands. Invalid pixels become 0, which is the mean of a standardized band.

``source``: mean and standard deviation of the source cities, kept in the model file. ``per_city``: those of the city
at hand, a simple and strong adaptation (it uses unlabeled target images).
``quantile``: each band mapped monotonically to a standard normal by its quantiles in the city at hand, which makes all its
marginal distributions equal. ``minmax``: to 0..1 by the extremes of the city at hand (as HighDAN does). ``none``: values as
they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from c2seg.data.city import Scene
from c2seg.data.quantiles import normal_knots, to_normal
from c2seg.data.statistics import BandStatistics
from c2seg.types import Window

__all__ = ["NORMALIZATIONS", "Normalization", "Normalizer", "Patch", "SceneReader"]

Patch = dict[str, np.ndarray]
"""Arrays [..., C, H, W] by modality."""

Normalization = Literal["source", "per_city", "quantile", "minmax", "none"]
NORMALIZATIONS: tuple[Normalization, ...] = ("source", "per_city", "quantile", "minmax", "none")


@dataclass(frozen=True)
class Normalizer:
    """Per-band shift and factor of each modality: ``(value - shift) * factor``, float32 [C].

    ``projection``, float32 [M, C] by modality, makes M channels of the C normalized bands where it is given. ``knots``, float64
    [2, C, Q] by modality, map bands to a standard normal in place of shift and factor, which then only standardize.
    """

    shift: Mapping[str, np.ndarray]
    factor: Mapping[str, np.ndarray]
    projection: Mapping[str, np.ndarray] = field(default_factory=dict)
    knots: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def fit(cls, kind: Normalization, statistics: Mapping[str, BandStatistics]) -> Normalizer:
        """Return the normalizer of a kind from band statistics (``quantile``: with quantiles). A constant band becomes 0."""
        shift, factor, knots = {}, {}, {}
        for name, band in statistics.items():
            center, width = {
                "none": (np.zeros_like(band.mean), np.ones_like(band.mean)),
                "minmax": (band.minimum, band.maximum - band.minimum),
            }.get(kind, (band.mean, band.std))
            flat = width <= 1e-12 * np.maximum(1.0, np.abs(center))
            shift[name] = center.astype(np.float32)
            factor[name] = np.where(flat, 0.0, 1.0 / np.where(flat, 1.0, width)).astype(np.float32)
            if kind == "quantile":
                if band.quantiles is None:
                    raise ValueError(f"the statistics of {name} have no quantiles; ask city_statistics for them")
                knots[name] = normal_knots(band.quantiles)
        return cls(shift, factor, knots=knots)

    def apply(self, modality: str, values: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """Return normalized channels [M, H, W] of float32 [C, H, W]; pixels that are not ``valid`` [H, W] become 0."""
        shift, factor = self.shift[modality], self.factor[modality]
        if modality in self.knots:
            values = to_normal(values, self.knots[modality])
            shift, factor = np.zeros_like(shift), np.ones_like(factor)
        out: np.ndarray
        if modality in self.projection:
            # One product for both: a pass over hundreds of bands costs more than a step of a small network.
            projection = self.projection[modality] * factor
            with np.errstate(invalid="ignore"):  # where not valid
                out = (projection @ values.reshape(len(values), -1)).reshape(len(projection), *values.shape[1:])
            out -= (projection @ shift)[:, None, None]
        else:
            out = values - shift[:, None, None]
            out *= factor[:, None, None]
        if not valid.all():
            out[:, ~valid] = 0.0
        return out


@dataclass(frozen=True)
class SceneReader:
    """Reads normalized patches of a scene; safe to call from several threads."""

    scene: Scene
    inputs: Sequence[str]
    normalizer: Normalizer

    def __call__(self, window: Window) -> tuple[Patch, np.ndarray]:
        """Return float32 [C, H, W] by modality, 0 where not valid, and valid bool [H, W] (every modality is)."""
        raw, valid = {}, np.ones((window.height, window.width), bool)
        for name in self.inputs:
            raw[name], usable = self.scene.read(name, window)
            valid &= usable
        return {name: self.normalizer.apply(name, raw[name], valid) for name in self.inputs}, valid
