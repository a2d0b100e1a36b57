"""Maps on disk as class scores: probabilities written by ``c2seg predict --probabilities``, or plain class maps.

Axes: K class, H row, W column.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from c2seg.artifacts import MapRecord
from c2seg.errors import C2SegError, DataError, GridError
from c2seg.legend import BACKGROUND, IGNORE, Legend
from c2seg.predict.layers import LAYER_NODATA, LAYER_STEPS
from c2seg.raster import GridRelation, RasterFile, relate_grids
from c2seg.types import Window

__all__ = ["ScoreMap", "check_grids", "open_map"]


@dataclass(frozen=True)
class ScoreMap:
    """A map of class probabilities, or of class ids (``plain``), which counts as probability 1 of its class."""

    file: RasterFile
    legend: Legend
    plain: bool

    def record(self) -> MapRecord | None:
        """Return the record of the map that this is, or is a layer of: the JSON beside it, or one there of the same model."""
        path, model = self.file.path, self.file.tags.get("MODEL")
        for place in (path.with_suffix(".json"), *(sorted(path.parent.glob("*.json")) if model else ())):
            try:
                record = MapRecord.read(place)
            except (C2SegError, OSError):
                continue
            if place.stem == path.stem or (record.key is not None and record.key.model == model):
                return record
        return None

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Return probabilities in half percents, uint8 [K, H, W] in 0..200, 0 without data; and bool [H, W], has data."""
        values = self.file.read(window)
        if not self.plain:
            valid = values[0] != LAYER_NODATA
            return np.where(valid, values, np.uint8(0)), valid
        ids = values[0]
        valid = (ids != BACKGROUND) & (ids != IGNORE)
        index = self.legend.index_table()[ids]
        if (strange := valid & (index == 255)).any():
            raise DataError(
                f"{self.file.path} holds the value {ids[strange][0]}, which is no class of legend {self.legend.name!r}; "
                "give the legend of the map"
            )
        classes = np.arange(self.legend.num_classes, dtype=np.uint8)[:, None, None]
        return (classes == index) * np.uint8(LAYER_STEPS), valid


def open_map(path: Path, legend: Legend) -> ScoreMap:
    """Open a map of a legend's classes. Raises DataError for a raster that is neither probabilities nor a class map."""
    file = RasterFile(path)
    if file.dtype == np.uint8 and file.count == 1:
        named = file.tags.get("LEGEND", legend.name)
        if named != legend.name:
            raise DataError(f"{path} is a map of legend {named!r}, not of {legend.name!r}; give its legend")
        return ScoreMap(file, legend, plain=True)
    if file.dtype == np.uint8 and file.count == legend.num_classes and file.nodata == LAYER_NODATA:
        if file.descriptions != legend.names:
            raise DataError(
                f"{path}: its bands are {', '.join(file.descriptions)}, legend {legend.name!r} has "
                f"{', '.join(legend.names)}; give the legend of the map"
            )
        return ScoreMap(file, legend, plain=False)
    raise DataError(
        f"{path} has {file.count} band{'s' if file.count > 1 else ''} of {file.dtype}; needed are class probabilities "
        f"({legend.num_classes} bands, as predict writes them with `probabilities`) or a class map (1 band of uint8)"
    )


def check_grids(maps: list[ScoreMap]) -> None:
    """Raise GridError unless all maps lie on the grid of the first one, pixel by pixel."""
    first = maps[0].file
    for other in maps[1:]:
        here, there = str(first.path), str(other.file.path)
        relation = relate_grids(first.grid, other.file.grid, here, there)
        size = (first.height, first.width), (other.file.height, other.file.width)
        if relation != GridRelation() or size[0] != size[1]:
            raise GridError(
                f"{there} ({size[1][0]} x {size[1][1]} pixels) and {here} ({size[0][0]} x {size[0][1]}) do not cover the "
                "same pixels; predict both on one grid"
            )
