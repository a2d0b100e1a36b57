"""Missing modalities as layers of zeros. Networks that were trained with modality dropout expect zeros."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from c2seg.data.city import City, Modality, Scene
from c2seg.data.normalize import Normalizer
from c2seg.types import Window

__all__ = ["ConstantRaster", "fill_missing"]


@dataclass(frozen=True)
class ConstantRaster:
    """A raster source of zeros, float32, without nodata."""

    count: int
    height: int
    width: int
    nodata: float | None = None

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """Data type of the zeros."""
        return np.dtype(np.float32)

    def read(self, window: Window) -> np.ndarray:
        """Return float32 [C, H, W] of zeros."""
        return np.zeros((self.count, window.height, window.width), self.dtype)

    def fingerprint(self) -> str:
        """Return a description of the raster."""
        return f"zeros {self.count} x {self.height} x {self.width}"


def fill_missing(city: City, normalizer: Normalizer, channels: Mapping[str, int]) -> tuple[City, Normalizer]:
    """Return the city with a layer of zeros for each modality in ``channels`` (count by name), and its normalizer.

    The zeros are network inputs, after normalization and projection. They are valid everywhere, so validity depends on the
    other modalities only.
    """
    if not channels:
        return city, normalizer

    def scene(one: Scene) -> Scene:
        zeros = {
            name: Modality(ConstantRaster(count, one.grid.height, one.grid.width), name=name)
            for name, count in channels.items()
        }
        return replace(one, modalities={**one.modalities, **zeros})

    filled = replace(
        normalizer,
        shift={**normalizer.shift, **{name: np.zeros(count, np.float32) for name, count in channels.items()}},
        factor={**normalizer.factor, **{name: np.ones(count, np.float32) for name, count in channels.items()}},
        projection={name: axes for name, axes in normalizer.projection.items() if name not in channels},
        knots={name: knots for name, knots in normalizer.knots.items() if name not in channels},
    )
    return replace(city, scenes=tuple(map(scene, city.scenes))), filled
