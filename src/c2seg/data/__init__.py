"""Cities: their scenes, modalities, labels, validity; spatial folds; band statistics and normalisation."""

from __future__ import annotations

from c2seg.data.city import Band, City, LabelledCity, Modality, Scene
from c2seg.data.folds import BlockFolds
from c2seg.data.layouts import open_city, open_labelled_city
from c2seg.data.memory import in_memory
from c2seg.data.normalise import Normaliser, Patch, SceneReader
from c2seg.data.statistics import BandStatistics, city_statistics

__all__ = [
    "Band",
    "BandStatistics",
    "BlockFolds",
    "City",
    "LabelledCity",
    "Modality",
    "Normaliser",
    "Patch",
    "Scene",
    "SceneReader",
    "city_statistics",
    "in_memory",
    "open_city",
    "open_labelled_city",
]
