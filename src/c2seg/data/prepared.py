"""A city prepared for training or prediction, with its statistics and its normalizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar, cast

from c2seg.data.cache import cached, cached_labels
from c2seg.data.city import City, LabeledCity
from c2seg.data.memory import city_bytes
from c2seg.data.normalize import Normalizer, SceneReader
from c2seg.data.projected import project_city
from c2seg.data.statistics import BandStatistics
from c2seg.progress import Progress, no_progress

__all__ = ["PreparedCity"]

C = TypeVar("C", City, LabeledCity)


@dataclass(frozen=True)
class PreparedCity(Generic[C]):
    """A city, its band statistics by modality, and the normalizer of its patches.

    The type of the city shows whether it has labels: a target is a ``PreparedCity[City]``.
    """

    city: C
    statistics: Mapping[str, BandStatistics]
    normalizer: Normalizer

    @property
    def images(self) -> City:
        """The city without its labels."""
        city: City | LabeledCity = self.city
        return city.images if isinstance(city, LabeledCity) else city

    def readers(self, inputs: Sequence[str]) -> tuple[SceneReader, ...]:
        """Return for each scene a reader of normalized patches of these modalities."""
        return tuple(SceneReader(scene, inputs, self.normalizer) for scene in self.images.scenes)

    def cached(self, cache: Path | None, budget_bytes: int, progress: Progress = no_progress) -> PreparedCity[C]:
        """Return the city in memory if it fits ``budget_bytes``, else memory-mapped in ``cache``, else unchanged.

        Projected modalities are cached as their few channels. Training reads the same pixels many times. A memory map is a
        hundred times faster than compressed files.
        """
        images, normalizer = project_city(self.images, self.normalizer)
        city: City | LabeledCity = self.city
        if isinstance(city, LabeledCity):
            city = cached_labels(replace(city, images=images), cache, budget_bytes, progress)
        else:
            city = cached(images, cache, budget_bytes, progress)
        return PreparedCity(cast(C, city), self.statistics, normalizer)

    def bytes_in_memory(self) -> int:
        """Return the size of the images in memory, with projected modalities as their channels."""
        return city_bytes(project_city(self.images, self.normalizer)[0])
