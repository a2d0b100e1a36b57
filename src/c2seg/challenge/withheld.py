"""The withheld ground truth of a test set, tile by tile: of a folder of numbered tiles, or cut from a raster or a city."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from affine import Affine

from c2seg.challenge.rules import TileSet, numbered_tiles, tile_windows
from c2seg.data import open_city
from c2seg.data.published import city_of_tiles
from c2seg.data.tiling import Order
from c2seg.data.vectors import is_vector
from c2seg.errors import DataError, InputError
from c2seg.legend import BACKGROUND, IGNORE, Legend
from c2seg.metrics import Reference, ReferenceCode, open_references
from c2seg.metrics.maps import reference_ids
from c2seg.metrics.pairs import ClassRaster, is_city
from c2seg.raster import RasterFile
from c2seg.types import Grid, Window

__all__ = ["ReferenceSource", "ReferenceTile", "first_pixels", "reference_tiles"]


@dataclass(frozen=True, slots=True)
class ReferenceSource:
    """Where the ground truth of a data set is: a folder of numbered tiles, or a raster to cut by the window rule."""

    path: Path
    tile_px: int = 128
    order: Order = "columns"
    label_map: str | None = None
    """None: what a city states, else class ids."""


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceTile:
    """The ground truth of one tile.

    ``labels`` is uint8 [H, W]: class ids, 0 and 255 where nothing is known. ``place`` is the row and column of its first pixel
    in the scene; None if it is not known.
    """

    number: int
    labels: np.ndarray
    place: tuple[int, int] | None = None


def reference_tiles(source: ReferenceSource, legend: Legend) -> Iterator[ReferenceTile]:
    """Yield the ground truth of every tile, in the order of the tiles' numbers.

    The places of a folder's tiles are known by their georeference, or where they are the tiles of a published city whose
    labels agree where tiles overlap. Raises DataError for values outside the legend, tiles that are not numbered, and where no
    pixel at all is labeled; InputError for a city of several scenes.
    """
    labeled = 0
    is_folder = source.path.is_dir() and not is_city(source.path)
    for tile in _of_folder(source, legend) if is_folder else _of_scene(source, legend):
        labeled += int(np.isin(tile.labels, legend.ids).sum())
        yield tile
    if not labeled:
        raise DataError(f"the ground truth {source.path} has no labeled pixel")


def first_pixels(windows: Mapping[int, Window]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield for every tile, in the given order, the pixels that no tile before it holds: bool [H, W].

    Over all tiles each pixel of the scene is true once, so that a sum over them is one over the mosaic.
    """
    side = max(max(window.height, window.width) for window in windows.values())
    earlier: dict[tuple[int, int], list[Window]] = {}
    for number, window in windows.items():
        first = np.ones((window.height, window.width), bool)
        row, col = window.row // side, window.col // side
        for key in ((r, c) for r in (row - 1, row, row + 1) for c in (col - 1, col, col + 1)):
            for held in earlier.get(key, ()):
                first[window.intersect(held).shift(-window.row, -window.col).slices] = False
        earlier.setdefault((row, col), []).append(window)
        yield number, first


def _of_scene(source: ReferenceSource, legend: Legend) -> Iterator[ReferenceTile]:
    references = open_references(source.path, legend, source.label_map)
    if len(references) > 1:
        raise InputError(f"{source.path} has several scenes; give the label of one, or a data set for each")
    whole = _whole(references[0])
    windows = tile_windows(whole.height, whole.width, source.tile_px, source.order)
    TileSet({n: (w.height, w.width) for n, w in enumerate(windows)}, (1,))  # checks number and sizes
    for number, window in enumerate(windows):
        yield ReferenceTile(number, _labels(whole, window, references[0].code), (window.row, window.col))


def _of_folder(source: ReferenceSource, legend: Legend) -> Iterator[ReferenceTile]:
    sizes = TileSet.from_path(source.path, (1,), source.tile_px, source.order).sizes  # checks numbers and sizes
    files = numbered_tiles(source.path)
    code = open_references(next(iter(files.values())), legend, source.label_map)[0].code
    grids = {number: RasterFile(files[number], (0,)).grid for number in sizes}
    windows = _by_georeference(grids) or _by_release(files, grids, code)
    for number in sizes:
        place = (windows[number].row, windows[number].col) if windows else None
        yield ReferenceTile(number, _read(files[number], code), place)


def _read(path: Path, code: ReferenceCode) -> np.ndarray:
    tile = RasterFile(path, (0,))
    try:
        return _labels(tile, tile.grid.window, code)
    finally:
        tile.close()


def _labels(raster: ClassRaster, window: Window, code: ReferenceCode) -> np.ndarray:
    labels = reference_ids(raster, window, code)
    known = np.isin(labels, [BACKGROUND, IGNORE, *code.legend.ids])
    if not known.all():
        raise DataError(f"{raster.path} holds the value {labels[~known][0]}, which is no id of the legend")
    return labels


def _whole(reference: Reference) -> ClassRaster:
    """Open the label of a scene; polygons are burned into the grid of their city."""
    if not is_vector(reference.path):
        return reference.open(Grid(1, 1, Affine.identity()))
    if reference.city is None:
        raise InputError(f"{reference.path} holds polygons, which have no pixels; give a label raster, or a city")
    return reference.open(open_city(reference.city).scenes[0].grid)


def _by_georeference(grids: Mapping[int, Grid]) -> dict[int, Window] | None:
    """Return the windows of georeferenced tiles in their scene; None if they have no CRS or do not share one grid."""
    first = next(iter(grids.values()))
    if first.crs is None or any(grid.crs != first.crs for grid in grids.values()):
        return None
    places = {}
    for number, grid in grids.items():
        relative = ~first.transform @ grid.transform
        rounded = (round(relative.f), round(relative.c))
        shape = (
            relative.a - 1,
            relative.b,
            relative.d,
            relative.e - 1,
            relative.f - rounded[0],
            relative.c - rounded[1],
        )
        if max(abs(value) for value in shape) > 0.01:
            return None
        places[number] = Window(*rounded, grid.height, grid.width)
    row, col = min(w.row for w in places.values()), min(w.col for w in places.values())
    return {number: window.shift(-row, -col) for number, window in places.items()}


def _by_release(files: Mapping[int, Path], grids: Mapping[int, Grid], code: ReferenceCode) -> dict[int, Window] | None:
    """Return the windows of a published city's tiles under the first tiling in which overlapping labels are equal."""
    sides = {side for grid in grids.values() for side in (grid.height, grid.width)}
    city = city_of_tiles(len(files), max(sides)) if len(sides) == 1 else None
    tiles = {number: _read(path, code) for number, path in sorted(files.items())} if city else {}
    for tiling in city.tile_grids() if city else ():
        windows = dict(zip(tiles, tiling.windows(), strict=True))
        scene = np.zeros((tiling.height, tiling.width), np.uint8)
        for (number, window), (_, first) in zip(windows.items(), first_pixels(windows), strict=True):
            part, labels = scene[window.slices], tiles[number]
            if not np.array_equal(part[~first], labels[~first]):
                break
            part[first] = labels[first]
        else:
            return windows
    return None
