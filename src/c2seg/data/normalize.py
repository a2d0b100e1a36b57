"""Normalization of bands. Invalid pixels become 0, which is the mean of a standardized band.

- ``source``: by mean and standard deviation of the source cities, which the model file contains.
- ``per_city``: by mean and standard deviation of each city. It is a simple and strong adaptation with unlabeled images.
- ``physical``: as ``source``, but optical images of known unit are first brought to reflectance: scaled, and without an
  offset that was left in (``in_physical_units``).
- ``midway``: the mean of what ``physical`` and ``per_city`` give; ``per_city`` alone for a modality whose values are not in one
  known unit with the sources' (``in_one_unit``).
- ``quantile``: each band is transformed to a standard normal by its quantiles in each city. This equalizes all marginal
  distributions.
- ``minmax``: to 0..1 by the extremes of each city (as in HighDAN).
- ``none``: values do not change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from c2seg.data.city import Scene
from c2seg.data.physical_layers import LAYERS
from c2seg.data.quantiles import normal_knots, to_normal
from c2seg.data.statistics import BandStatistics
from c2seg.data.units import in_one_unit
from c2seg.types import Window

__all__ = ["NORMALIZATIONS", "OF_EACH_CITY", "Normalization", "Normalizer", "Patch", "SceneReader"]

Patch = dict[str, np.ndarray]
"""Arrays [..., C, H, W] by modality."""

Normalization = Literal["source", "physical", "per_city", "midway", "quantile", "minmax", "none"]
NORMALIZATIONS: tuple[Normalization, ...] = (
    "source", "physical", "per_city", "midway", "quantile", "minmax", "none",
)  # fmt: skip

OF_EACH_CITY: frozenset[str] = frozenset({"per_city", "midway", "quantile", "minmax"})
"""Kinds that follow the statistics of the city itself."""
OF_SOURCES: frozenset[str] = frozenset({"source", "physical", "midway"})
"""Kinds that follow the statistics of the source cities."""
IN_PHYSICAL_UNITS: frozenset[str] = frozenset({"physical", "midway"})
"""Kinds that compare values of different cities, and so want them in one unit."""


@dataclass(frozen=True)
class Normalizer:
    """Shift and factor of each band by modality, float32 [C]: ``(value - shift) * factor``.

    ``projection``, float32 [M, C] by modality, projects the C normalized bands to M channels. ``knots``, float64 [2, C, Q] by
    modality, transform bands to a standard normal and replace shift and factor.
    """

    shift: Mapping[str, np.ndarray]
    factor: Mapping[str, np.ndarray]
    projection: Mapping[str, np.ndarray] = field(default_factory=dict)
    knots: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def fit(cls, kind: Normalization, statistics: Mapping[str, BandStatistics]) -> Normalizer:
        """Return a normalizer from band statistics. ``quantile`` needs quantiles. A constant band becomes 0.

        Physical layers do not change, whatever the kind.
        """
        shift, factor, knots = {}, {}, {}
        for name, band in statistics.items():
            here = "none" if name in LAYERS else kind
            center, width = {
                "none": (np.zeros_like(band.mean), np.ones_like(band.mean)),
                "minmax": (band.minimum, band.maximum - band.minimum),
            }.get(here, (band.mean, band.std))
            flat = width <= 1e-12 * np.maximum(1.0, np.abs(center))
            shift[name] = center.astype(np.float32)
            factor[name] = np.where(flat, 0.0, 1.0 / np.where(flat, 1.0, width)).astype(np.float32)
            if here == "quantile":
                if band.quantiles is None:
                    raise ValueError(f"the statistics of {name} have no quantiles; compute them with quantiles")
                knots[name] = normal_knots(band.quantiles)
        return cls(shift, factor, knots=knots)

    @classmethod
    def of_city(
        cls, kind: Normalization, here: Mapping[str, BandStatistics], sources: Mapping[str, BandStatistics]
    ) -> Normalizer:
        """Return the normalizer of a city with the statistics ``here`` for a model of ``sources``.

        Kinds that do not follow the city need no statistics ``here``.
        """
        if kind == "midway":
            compared = [name for name in here if in_one_unit(name, here[name], sources[name])]
            return _mean(cls.fit("per_city", here), cls.fit("source", {name: sources[name] for name in compared}))
        return cls.fit(kind, here if kind in OF_EACH_CITY else sources)

    def apply(self, modality: str, values: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """Return normalized channels [M, H, W] from scaled values float32 [C, H, W]. Pixels that are not ``valid`` become 0."""
        shift, factor = self.shift[modality], self.factor[modality]
        if modality in self.knots:
            values = to_normal(values, self.knots[modality])
            shift, factor = np.zeros_like(shift), np.ones_like(factor)
        out: np.ndarray
        if modality in self.projection:
            # One matrix product for both: a pass over hundreds of bands is slower than a step of a small network.
            projection = self.projection[modality] * factor
            with np.errstate(invalid="ignore"):  # in invalid pixels
                out = (projection @ values.reshape(len(values), -1)).reshape(len(projection), *values.shape[1:])
            out -= (projection @ shift)[:, None, None]
        else:
            out = values - shift[:, None, None]
            out *= factor[:, None, None]
        if not valid.all():
            out[:, ~valid] = 0.0
        return out


def _mean(one: Normalizer, other: Normalizer) -> Normalizer:
    """Return the normalizer whose values are the mean of those of two; of modalities of the first alone, its own."""
    shift, factor = dict(one.shift), dict(one.factor)
    for name in other.factor:
        first, second = (part.factor[name].astype(np.float64) for part in (one, other))
        slope = (first + second) / 2
        level = (one.shift[name] * first + other.shift[name] * second) / 2
        factor[name] = slope.astype(np.float32)
        shift[name] = (level / np.where(slope > 0, slope, 1.0)).astype(np.float32)
    return Normalizer(shift, factor)


@dataclass(frozen=True)
class SceneReader:
    """Reads normalized patches of a scene. It is safe to use from several threads."""

    scene: Scene
    inputs: Sequence[str]
    normalizer: Normalizer

    def __call__(self, window: Window) -> tuple[Patch, np.ndarray]:
        """Return normalized channels float32 [C, H, W] by modality, 0 where invalid, and validity bool [H, W].

        A pixel is valid if all modalities are valid.
        """
        values, valid = {}, np.ones((window.height, window.width), bool)
        for name in self.inputs:
            values[name], valid_here = self.scene.read(name, window)
            valid &= valid_here
        return {name: self.normalizer.apply(name, values[name], valid) for name in self.inputs}, valid
