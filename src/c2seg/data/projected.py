"""Mix bands once: networks that see a few components of hundreds of bands would else mix them anew for every patch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from c2seg.data.city import City, Modality, Scene
from c2seg.data.derived import Derived
from c2seg.data.normalize import Normalizer
from c2seg.raster import RasterSource
from c2seg.types import Window

__all__ = ["ProjectedChannels", "project_city"]

_PIXELS = 2**14


@dataclass(frozen=True)
class ProjectedChannels(Derived):
    """The normalized and mixed channels of a modality as a source of float32 on its own grid; NaN where it is not usable.

    ``masked``: as in ``Modality.usable``.
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
        stored = self.stack.source.read(window)
        out = np.empty((self.count, window.height, window.width), np.float32)
        step = max(1, _PIXELS // window.width)  # hundreds of bands in float32 are large
        for row in range(0, window.height, step):
            part = stored[:, row : row + step]
            usable = self.stack.usable(part, masked=self.masked)
            out[:, row : row + step] = self.normalizer.apply(self.name, self.stack.physical(part), usable)
            out[:, row : row + step][:, ~usable] = np.nan
        return out

    def fingerprint(self) -> str:
        """Return a text that changes with the bands and with what is made of them."""
        own = self.normalizer
        digest = hashlib.sha256(repr((self.stack.source.fingerprint(), self.stack.scale, self.stack.blank)).encode())
        for values in (own.shift, own.factor, own.projection, own.knots):
            digest.update(np.ascontiguousarray(values.get(self.name, ())).tobytes())
        return digest.hexdigest()[:16]


def project_city(city: City, normalizer: Normalizer) -> tuple[City, Normalizer]:
    """Return the city with the channels of mixed modalities in the place of their bands, and the normalizer of that city.

    Patches read with both are those of the city and normalizer given, up to rounding. The bands are mixed as they are read:
    keep the city in memory or in a cache (``cached``), where it is smaller than the bands, too.
    """
    names = [name for name in normalizer.projection if any(name in scene.modalities for scene in city.scenes)]
    if not names:
        return city, normalizer

    def scene(one: Scene) -> Scene:
        masked = one.valid is not None
        stacks = {
            name: replace(
                stack, source=ProjectedChannels(name, stack, normalizer, masked), bands=(), scale=1.0, blank=None
            )
            for name, stack in one.modalities.items()
            if name in names
        }
        return replace(one, modalities={**one.modalities, **stacks})

    each = {name: len(normalizer.projection[name]) for name in names}
    left = replace(
        normalizer,
        shift={**normalizer.shift, **{name: np.zeros(count, np.float32) for name, count in each.items()}},
        factor={**normalizer.factor, **{name: np.ones(count, np.float32) for name, count in each.items()}},
        projection={**normalizer.projection, **{name: np.eye(count, dtype=np.float32) for name, count in each.items()}},
        knots={name: knots for name, knots in normalizer.knots.items() if name not in each},
    )
    return replace(city, scenes=tuple(map(scene, city.scenes))), left
