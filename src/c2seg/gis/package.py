"""One folder with a map that exists, its layers, and everything that a GIS user needs with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from c2seg.artifacts import MapRecord
from c2seg.errors import C2SegError, DataError
from c2seg.gis.side_files import FinishedMap, SideFiles, add_side_files
from c2seg.legend import LandClass, Legend, c2seg13
from c2seg.metrics import map_legend
from c2seg.outputs import check_outputs, commit
from c2seg.progress import Progress, no_progress
from c2seg.raster import RasterFile, open_raster
from c2seg.types import Window

__all__ = ["Package", "package_map"]

_ROWS = 512


@dataclass(frozen=True)
class Package:
    """A folder that was written, and the names of its files."""

    folder: Path
    files: tuple[str, ...]


def package_map(
    path: Path,
    side: SideFiles,
    *,
    inputs: Sequence[Path] = (),
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> Package:
    """Write the folder ``side.package`` for the map at ``path``, in its own colors; ``inputs`` are never replaced.

    Raises DataError for a raster that is no map of classes, InputError, OutputError.
    """
    assert side.package is not None
    side.check()
    made = _finished(path)
    sources = [path, *(source for source, _ in made.layers.values()), *inputs]
    check_outputs(list(side.outputs.values()), sources, overwrite=overwrite)
    with commit(overwrite=overwrite) as files:
        add_side_files(files, made, side, progress)
    return Package(side.package, tuple(sorted(file.name for file in side.package.iterdir())))


def _finished(path: Path) -> FinishedMap:
    raster = RasterFile(path)
    if raster.count != 1 or raster.dtype != np.uint8:
        raise DataError(f"{path} has {raster.count} bands of {raster.dtype}; a map of classes has one of uint8")
    record = _record(path)
    legend = _in_its_colors(path, map_legend(raster) or c2seg13())
    named = {"confidence": record.confidence, "runner_up": record.runner_up} if record else {}
    places = {layer: path.parent / name for layer, name in named.items() if name}
    layers = {layer: (place, place) for layer, place in places.items() if place.is_file()}
    counts = np.zeros(256, np.int64)
    for first in range(0, raster.height, _ROWS):
        window = Window(first, 0, min(_ROWS, raster.height - first), raster.width)
        counts += np.bincount(raster.read(window).ravel(), minlength=256)
    pixels = {i: int(counts[i]) for i in legend.ids}
    return FinishedMap(path, path, raster.grid, legend, pixels, record, layers)


def _record(path: Path) -> MapRecord | None:
    """Return the record beside a map; None for a map of others."""
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return None
    try:
        record = MapRecord.read(beside)
    except C2SegError:
        return None
    return record if record.path == path.name else None


def _in_its_colors(path: Path, legend: Legend) -> Legend:
    """Return the legend with the colors of the file's table, where it has one."""
    with open_raster(path) as dataset:
        try:
            colors = dataset.colormap(1)
        except ValueError:
            return legend
    classes = tuple(
        LandClass(item.id, item.name, "#{:02X}{:02X}{:02X}".format(*colors[item.id][:3])) if item.id in colors else item
        for item in legend.classes
    )
    return replace(legend, classes=classes)
