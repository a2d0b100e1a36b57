"""Cities: layouts on disk, scenes, modalities, labels and validity; spatial folds, band statistics, caches, writers."""

from __future__ import annotations

from c2seg.data.arrays import city_of_arrays
from c2seg.data.cache import cached, cached_labels
from c2seg.data.city import Band, City, Label, LabeledCity, Modality, Scene
from c2seg.data.folds import BlockFolds, Folds
from c2seg.data.layouts import add_labels, open_city, open_labeled_city
from c2seg.data.memory import in_memory
from c2seg.data.missing import fill_missing
from c2seg.data.normalize import Normalizer, Patch, SceneReader
from c2seg.data.pca import Components, principal_components
from c2seg.data.prepared import PreparedCity
from c2seg.data.statistics import BandStatistics, city_statistics
from c2seg.data.stored_statistics import CityStatistics, FullStatistics
from c2seg.data.tiling import TileGrid
from c2seg.data.writers import write_folder, write_mat, write_tiles

__all__ = [
    "Band",
    "BandStatistics",
    "BlockFolds",
    "City",
    "CityStatistics",
    "Components",
    "Folds",
    "FullStatistics",
    "Label",
    "LabeledCity",
    "Modality",
    "Normalizer",
    "Patch",
    "PreparedCity",
    "Scene",
    "SceneReader",
    "TileGrid",
    "add_labels",
    "cached",
    "cached_labels",
    "city_of_arrays",
    "city_statistics",
    "fill_missing",
    "in_memory",
    "open_city",
    "open_labeled_city",
    "principal_components",
    "write_folder",
    "write_mat",
    "write_tiles",
]
