"""Band statistics of a city as a file, for those who do not want to read the whole city again."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import PlainSerializer, PlainValidator

from c2seg.data.statistics import BandStatistics
from c2seg.records import Artifact

__all__ = ["CityStatistics", "FullStatistics"]

FullStatistics = Annotated[
    BandStatistics,
    PlainValidator(lambda value: value if isinstance(value, BandStatistics) else BandStatistics.from_dict(value)),
    PlainSerializer(lambda value: value.as_dict(quantiles=True)),
]
"""Band statistics with their quantiles; on disk as ``BandStatistics.as_dict`` gives them."""


class CityStatistics(Artifact):
    """Band statistics of a city by modality, over the valid pixels of each, in the units of the city's images."""

    artifact: Literal["statistics"] = "statistics"
    city: str
    modalities: dict[str, FullStatistics]
