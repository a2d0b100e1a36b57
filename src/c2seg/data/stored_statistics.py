"""Band statistics of a city as a file, for those who do not want to read the whole city again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from c2seg.data.statistics import BandStatistics
from c2seg.records import Artifact, Record

__all__ = ["CityStatistics", "StoredStatistics"]


class StoredStatistics(Record):
    """Of one modality: pixels (on the fine grid) and, by band, mean, deviation, extremes; quantiles [C, 256] if there."""

    count: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    minimum: tuple[float, ...]
    maximum: tuple[float, ...]
    quantiles: tuple[tuple[float, ...], ...] | None = None


class CityStatistics(Artifact):
    """Band statistics of a city by modality, over the valid pixels of each, in the units of the city's images."""

    artifact: Literal["statistics"] = "statistics"
    city: str
    modalities: dict[str, StoredStatistics]

    @classmethod
    def of(cls, city: str, bands: Mapping[str, BandStatistics]) -> CityStatistics:
        """Return the statistics of the named city in the shape in which they are stored."""
        stored = {
            name: StoredStatistics.model_validate(values.as_dict(quantiles=True)) for name, values in bands.items()
        }
        return cls.model_validate({"city": city, "modalities": stored})

    def bands(self) -> dict[str, BandStatistics]:
        """Return the statistics as arrays."""
        return {name: BandStatistics.from_dict(values.model_dump()) for name, values in self.modalities.items()}
