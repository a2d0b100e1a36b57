"""Files of band statistics, so that a city need not be read again."""

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
"""Band statistics with quantiles; on disk in the format of ``BandStatistics.as_dict``."""


class CityStatistics(Artifact):
    """Band statistics of a city by modality, over valid pixels, in the units of the scaled values."""

    artifact: Literal["statistics"] = "statistics"
    city: str
    modalities: dict[str, FullStatistics]
