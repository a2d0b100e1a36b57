"""A model's probabilities beside a map: at points, and their means over the map, for prediction-powered estimates.

Axes: n point, K class, C band, H row, W column.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from c2seg.errors import DataError
from c2seg.raster import RasterFile
from c2seg.types import Window
from c2seg.verify.classmap import ClassMap, read_at, row_windows

__all__ = ["ProbabilityLayer", "open_probabilities"]

_STEPS = 200
_STRIP_VALUES = 8_000_000


@dataclass(frozen=True)
class ProbabilityLayer:
    """Class probabilities as ``predict`` writes them: a band for each class, uint8 0..200, 255 nodata; or floats."""

    raster: RasterFile
    class_map: ClassMap

    def read(self, window: Window) -> np.ndarray:
        """Return float32 [K, H, W] in 0..1; NaN without data."""
        return self.scaled(self.raster.read(window))

    def at(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Return float32 [n, K] at pixels; NaN without data."""
        return self.scaled(read_at(self.raster, rows, cols)).T

    def means(self) -> tuple[np.ndarray, float]:
        """Return the mean probability of each class over the map's pixels, float64 [K], and that of the mapped class."""
        classes = self.class_map.legend.num_classes
        table = self.class_map.legend.index_table()
        sums, of_mapped, pixels = np.zeros(classes), 0.0, 0
        for window in row_windows(self.class_map.grid, _STRIP_VALUES // classes):
            ids = self.class_map.read_ids(window)
            values = self.read(window)
            inside = (ids != 0) & np.isfinite(values[0])
            chosen = values[:, inside]
            index = table[ids[inside]].astype(np.intp)
            sums += chosen.sum(1, dtype=np.float64)
            of_mapped += float(np.take_along_axis(chosen, index[None], 0).sum(dtype=np.float64))
            pixels += int(inside.sum())
        return sums / max(pixels, 1), of_mapped / max(pixels, 1)

    def scaled(self, raw: np.ndarray) -> np.ndarray:
        """Return raw values as float32 in 0..1; NaN without data."""
        values = raw.astype(np.float32)
        if self.raster.nodata is not None:
            values[raw == self.raster.nodata] = np.nan
        return values / np.float32(_STEPS) if raw.dtype == np.uint8 else values


def open_probabilities(path: Path, class_map: ClassMap) -> ProbabilityLayer:
    """Open the probabilities of a map. Raises DataError if they have another grid or other bands than the legend's classes."""
    raster = RasterFile(path)
    classes = class_map.legend.num_classes
    if (raster.height, raster.width) != (class_map.grid.height, class_map.grid.width):
        raise DataError(f"{path} does not lie on the grid of {class_map.path}; give the probabilities of this map")
    named = [text for text in raster.descriptions if text]
    if raster.count != classes or (named and tuple(named) != class_map.legend.names):
        raise DataError(
            f"{path} has {raster.count} bands that are not the {classes} classes of {class_map.path}; give what predict "
            "wrote with `probabilities`"
        )
    return ProbabilityLayer(raster, class_map)
