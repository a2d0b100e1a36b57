"""Projected modalities: a few channels instead of hundreds of bands. They are computed once, not anew for every patch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from c2seg.data.city import City, Modality, Scene
from c2seg.data.derived import Derived
from c2seg.data.normalize import Normalizer
from c2seg.raster import RasterSource, short
from c2seg.types import Window

__all__ = ["ProjectedChannels", "project_city"]

_PIXELS = 2**14


@dataclass(frozen=True)
class ProjectedChannels(Derived):
    """The normalized and projected channels of a modality on its native grid, float32; NaN where invalid.

    ``masked``: as in ``Modality.valid_pixels``.
    """

    name: str
    stack: Modality
    normalizer: Normalizer
    masked: bool

    @property
    def origin(self) -> RasterSource:
        """The raster of the bands."""
        return self.stack.source

    @property
    def count(self) -> int:
        """Number of channels."""
        return len(self.normalizer.projection[self.name])

    def read(self, window: Window) -> np.ndarray:
        """Return channels float32 [M, H, W]."""
        raw = self.stack.source.read(window)
        out = np.empty((self.count, window.height, window.width), np.float32)
        step = max(1, _PIXELS // window.width)  # hundreds of bands in float32 need much memory
        for row in range(0, window.height, step):
            part = raw[:, row : row + step]
            valid = self.stack.valid_pixels(part, window.rows(row, part.shape[1]), masked=self.masked)
            out[:, row : row + step] = self.normalizer.apply(self.name, self.stack.scaled(part), valid)
            out[:, row : row + step][:, ~valid] = np.nan
        return out

    def fingerprint(self) -> str:
        """Return a digest of the bands and of their normalization."""
        normalizer, stack = self.normalizer, self.stack
        digest = hashlib.sha256(
            repr((stack.source.fingerprint(), stack.scale, stack.offset, stack.nodata_all_bands)).encode()
        )
        for values in (normalizer.shift, normalizer.factor, normalizer.projection, normalizer.knots):
            digest.update(np.ascontiguousarray(values.get(self.name, ())).tobytes())
        return short(digest)


def project_city(city: City, normalizer: Normalizer) -> tuple[City, Normalizer]:
    """Return the city with channels instead of the bands of projected modalities, and the normalizer of that city.

    Its patches equal those of the given city and normalizer, up to rounding. Each read projects the bands again. Hold the
    city in memory or in a cache (``cached``), where it also needs less space than the bands.
    """
    names = [name for name in normalizer.projection if any(name in scene.modalities for scene in city.scenes)]
    if not names:
        return city, normalizer

    def scene(one: Scene) -> Scene:
        masked = one.valid is not None
        stacks = {
            name: replace(
                stack,
                source=ProjectedChannels(name, stack, normalizer, masked),
                bands=(),
                scale=1.0,
                offset=0.0,
                mask=None,
                nodata_all_bands=None,
            )
            for name, stack in one.modalities.items()
            if name in names
        }
        return replace(one, modalities={**one.modalities, **stacks})

    counts = {name: len(normalizer.projection[name]) for name in names}
    identity = replace(
        normalizer,
        shift={**normalizer.shift, **{name: np.zeros(count, np.float32) for name, count in counts.items()}},
        factor={**normalizer.factor, **{name: np.ones(count, np.float32) for name, count in counts.items()}},
        projection={
            **normalizer.projection,
            **{name: np.eye(count, dtype=np.float32) for name, count in counts.items()},
        },
        knots={name: knots for name, knots in normalizer.knots.items() if name not in counts},
    )
    return replace(city, scenes=tuple(map(scene, city.scenes))), identity
