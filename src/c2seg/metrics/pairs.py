"""Maps matched with their ground truth: single files, folders of tiles, the scenes of a city, on one grid."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from c2seg.data.layouts.folder import recognize
from c2seg.errors import DataError, GridError, InputError
from c2seg.legend import Legend
from c2seg.metrics.references import (
    LabelRaster,
    Reference,
    ReferenceCode,
    agreed_legend,
    choose,
    map_legend,
    open_references,
    same_classes,
)
from c2seg.raster import GridRelation, RasterFile, relate_grids
from c2seg.types import Grid, Window

__all__ = [
    "ClassRaster",
    "GridOf",
    "LeftOut",
    "MapPair",
    "OnGrid",
    "check_reference",
    "find_tiles",
    "is_city",
    "pair_maps",
    "pair_of",
    "unplaced_side",
]

_TILE_SUFFIXES = (".tif", ".tiff", ".png")
_TILE_STEM = re.compile(r"(?P<key>.+?)(_prediction)?")
_SAME = GridRelation()

ClassRaster = RasterFile | LabelRaster
GridOf = Literal["reference", "map"]
"""Whose pixels are scored: a finer raster is read on them by majority, a coarser one is repeated."""


@dataclass(frozen=True, slots=True)
class OnGrid:
    """A raster as it is read on the grid of the scores.

    ``relation``: of the raster to that grid; with ``majority`` the raster is finer, and it is the relation of that grid to the
    raster. A pixel then has the most frequent id in it.
    """

    raster: ClassRaster
    relation: GridRelation = _SAME
    majority: bool = False

    @property
    def path(self) -> Path:
        """Its file."""
        return self.raster.path

    def read_ids(self, window: Window, ids: Callable[[ClassRaster, Window], np.ndarray]) -> np.ndarray:
        """Return uint8 [H, W] of a window, which may extend beyond the raster; ``ids`` reads a window of the raster itself."""
        if self.majority:
            return _most_frequent(ids(self.raster, self.relation.to_fine(window)), self.relation.ratio)
        coarse = self.relation.to_coarse(window)
        values = ids(self.raster, coarse)
        if self.relation.ratio == 1:
            return values
        fine = self.relation.to_fine(coarse)
        rows, cols = window.shift(-fine.row, -fine.col).slices
        repeated: np.ndarray = values.repeat(self.relation.ratio, 0)[rows].repeat(self.relation.ratio, 1)[:, cols]
        return repeated


LeftOut = Callable[[Window], np.ndarray]
"""Returns bool [H, W] of a window on a map's own grid: pixels that its model was trained on, or near such."""


@dataclass(frozen=True, slots=True)
class MapPair:
    """A prediction and its ground truth on the grid of the scores, [``height``, ``width``] pixels.

    ``unplaced`` is the file without a georeference where pixels are matched by row and column. Only pixels where ``valid`` is
    non-zero are counted, and none that ``left_out`` marks.
    """

    prediction: OnGrid
    reference: OnGrid
    code: ReferenceCode
    height: int
    width: int
    valid: OnGrid | None = None
    unplaced: Path | None = None
    left_out: LeftOut | None = None

    def read_left_out(self, window: Window) -> np.ndarray:
        """Return bool [H, W] of a window on the grid of the scores: pixels that do not count, whatever their ground truth."""
        if self.left_out is None:
            return np.zeros((window.height, window.width), bool)
        if not self.prediction.majority:
            marked = self.left_out
            values = self.prediction.read_ids(window, lambda _, part: marked(part).astype(np.uint8))
            return np.asarray(values != 0)
        ratio = self.prediction.relation.ratio
        fine = self.left_out(self.prediction.relation.to_fine(window))
        return np.asarray(fine.reshape(window.height, ratio, window.width, ratio).any(axis=(1, 3)))


def pair_maps(
    prediction: Path,
    reference: Path,
    *,
    legend: Legend | None = None,
    label_map: str | None = None,
    label_field: str | None = None,
    on: GridOf = "reference",
    valid: Path | None = None,
) -> tuple[MapPair, ...]:
    """Match predictions with their ground truth.

    Both are files or folders of tiles; the ground truth may also be a city, with a map for each of its scenes
    (``SCENE.tif``), or a vector file. Tiles are matched by number (``7.tif``, ``7.tiff``, ``7.png``, ``7_prediction.tif``),
    other names by their stem. Both folders must contain the same tiles. Georeferenced files are matched by their grids, which
    must be aligned, at any integer ratio: ``on`` is whose grid is scored. If one of the two has no CRS, or both none and one
    no place, they are matched by row and column and must have equal size. ``legend``, ``label_map``: as in
    ``open_references``; the legend of a map must agree with it. Raises DataError, GridError, InputError.
    """
    if not prediction.exists():
        raise DataError(f"{prediction} does not exist; give a map, or a folder of maps")
    if prediction.is_dir() and recognize(prediction):
        raise InputError(f"{prediction} is a city; the map comes first, then the ground truth")
    if prediction.is_dir() and reference.is_dir() and not is_city(reference):
        if valid is not None:
            raise InputError("a raster of valid pixels can be used with a single map, not with folders of tiles")
        return _tile_pairs(prediction, reference, legend, label_map, on)
    references = open_references(reference, legend, label_map, label_field)
    if prediction.is_dir():
        return _scene_pairs(prediction, reference, references, legend, on)
    chosen = references[0] if len(references) == 1 else choose(references, prediction.stem, reference)
    pair = _pair(prediction, chosen, legend, on)
    if valid is None:
        return (pair,)
    mask = RasterFile(valid, (0,))
    grid = pair.reference.raster.grid if on == "reference" else pair.prediction.raster.grid
    return (replace(pair, valid=_on_grid(grid, mask, str(pair.reference.path), valid.name)),)


def pair_of(prediction: Path, reference: Reference) -> MapPair:
    """Match a map with one opened reference by their grids, or by rows and columns if neither has a georeference."""
    return _pair(prediction, reference, None, "reference")


def check_reference(grid: Grid, name: str, reference: Path) -> None:
    """Raise DataError or GridError if a map ``name`` on this grid cannot be scored with the ground truth."""
    raster = open_references(reference)[0].open(grid)
    if unplaced_side(grid, name, raster) is None:
        coarser = raster.grid.resolution_xy[0] >= grid.resolution_xy[0]
        fine, coarse = (grid, raster.grid) if coarser else (raster.grid, grid)
        relate_grids(fine, coarse, name if coarser else str(raster.path), str(raster.path) if coarser else name)


def is_city(path: Path) -> bool:
    """Return whether a folder is a city, rather than one of tiles."""
    return recognize(path) or (path / "label.tif").is_file() or not any(_tile_files(path))


def _tile_pairs(
    prediction: Path, reference: Path, legend: Legend | None, label_map: str | None, on: GridOf
) -> tuple[MapPair, ...]:
    predicted, true = find_tiles(prediction), find_tiles(reference)
    _same_tiles(predicted, prediction, true, reference)
    code = open_references(next(iter(true.values())), legend, label_map)[0].code
    pairs = [_pair(predicted[key], Reference(true[key], code), legend, on) for key in true]
    return _of_one_legend(pairs)


def _scene_pairs(
    prediction: Path, reference: Path, references: Sequence[Reference], legend: Legend | None, on: GridOf
) -> tuple[MapPair, ...]:
    """Match the maps of a city's scenes by the scenes' names."""
    if len(references) == 1:
        raise DataError(
            f"{prediction} is a folder of tiles but the ground truth {reference} is not; give two folders or two files"
        )
    maps = find_tiles(prediction)
    missing = [str(item.scene) for item in references if str(item.scene) not in maps]
    if missing:
        raise DataError(f"{prediction} has no map of the scenes {', '.join(missing)} of {reference}")
    pairs = [_pair(maps[str(item.scene)], item, legend, on) for item in references]
    return _of_one_legend(pairs)


def _of_one_legend(pairs: Sequence[MapPair]) -> tuple[MapPair, ...]:
    """Return the pairs if all maps have the same classes."""
    agreed_legend([(str(pair.prediction.path), pair.code.legend) for pair in pairs])
    return tuple(pairs)


def find_tiles(folder: Path) -> dict[str, Path]:
    """Return the tiles of a folder by key: numbers in numeric order, then other names in alphabetic order.

    The key is the stem without ``_prediction`` and without leading zeros. Raises DataError for a folder without tiles or with
    two files for a key.
    """
    tiles: dict[str, Path] = {}
    for path in _tile_files(folder):
        match = _TILE_STEM.fullmatch(path.stem)
        key = match["key"] if match else path.stem
        key = str(int(key)) if key.isascii() and key.isdigit() else key
        if key in tiles:
            raise DataError(
                f"{folder} contains two files for tile {key}: {tiles[key].name} and {path.name}; remove one"
            )
        tiles[key] = path
    if not tiles:
        raise DataError(f"{folder} contains no tiles (N.tif, N.tiff, N.png or N_prediction.tif)")
    numbers = sorted((k for k in tiles if k.isdigit()), key=int)
    return {key: tiles[key] for key in [*numbers, *sorted(tiles.keys() - set(numbers))]}


def _tile_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in _TILE_SUFFIXES and not path.name.startswith(".") and path.is_file():
            yield path


def _most_frequent(ids: np.ndarray, ratio: int) -> np.ndarray:
    """Return the most frequent id of squares of ``ratio`` pixels; of equals the smallest that is not 0."""
    height, width = (length // ratio for length in ids.shape)
    cells = ids.reshape(height, ratio, width, ratio)
    best, most = np.zeros((height, width), np.uint8), np.zeros((height, width), np.int64)
    for number in sorted(np.unique(ids).tolist(), key=lambda n: (n == 0, n)):
        count = (cells == number).sum(axis=(1, 3))
        best, most = np.where(count > most, np.uint8(number), best), np.maximum(count, most)
    return best


def _pair(prediction: Path, reference: Reference, legend: Legend | None, on: GridOf) -> MapPair:
    predicted = RasterFile(prediction)
    if predicted.count != 1:
        raise DataError(f"{prediction} has {predicted.count} bands; a map of classes has one")
    true = reference.open(predicted.grid)
    code = _common_code(predicted, reference, legend)
    unplaced = unplaced_side(predicted.grid, str(prediction), true)
    if unplaced is not None:
        return MapPair(OnGrid(predicted), OnGrid(true), code, true.height, true.width, unplaced=unplaced)
    if on == "map":
        placed = _on_grid(predicted.grid, true, str(prediction), str(true.path))
        return MapPair(OnGrid(predicted), placed, code, predicted.height, predicted.width)
    placed = _on_grid(true.grid, predicted, str(true.path), str(prediction))
    return MapPair(placed, OnGrid(true), code, true.height, true.width)


def _common_code(predicted: RasterFile, reference: Reference, legend: Legend | None) -> ReferenceCode:
    """Return the meaning of values. The map's own classes count where nothing else names some."""
    legend_of_map, code = map_legend(predicted), reference.code
    if legend_of_map is None:
        return code
    named = legend is not None or reference.states_legend or code.label_map != "challenge"
    if named or same_classes(legend_of_map, code.legend):
        agreed_legend([(str(reference.path), code.legend), (str(predicted.path), legend_of_map)])
        return code
    return ReferenceCode(legend_of_map)


def _on_grid(grid: Grid, raster: ClassRaster, grid_name: str, name: str) -> OnGrid:
    """Return how a raster of equal, coarser or finer pixels is read on a grid. Raises GridError if they are not aligned."""
    if raster.grid.resolution_xy[0] < 0.75 * grid.resolution_xy[0] and grid.crs is not None:
        return OnGrid(raster, relate_grids(raster.grid, grid, name, grid_name), majority=True)
    return OnGrid(raster, relate_grids(grid, raster.grid, grid_name, name))


def unplaced_side(grid: Grid, name: str, true: ClassRaster) -> Path | None:
    """Return which of the map ``name`` and its ground truth has no georeference, if they are matched by row and column.

    They are where one has a CRS and the other none, and where none has one and one lies at the origin, as grids do that
    nothing places. None: they are matched by their grids. Raises GridError if sizes differ where rows are matched.
    """
    no_place = [side.crs is None and _at_origin(side) for side in (grid, true.grid)]
    if (grid.crs is None) == (true.grid.crs is None) and not any(no_place):
        return None
    if grid == true.grid and not grid.transform.is_identity:
        return None
    if (grid.height, grid.width) != (true.height, true.width):
        raise GridError(
            f"{name} is {grid.height} x {grid.width} pixels, its ground truth {true.path} {true.height} x {true.width}; "
            "where one has no CRS, rows and columns are matched and the sizes must be equal"
        )
    return Path(name) if grid.crs is None else true.path


def _at_origin(grid: Grid) -> bool:
    return bool(grid.transform.c == 0 and grid.transform.f == 0)


def _same_tiles(predicted: dict[str, Path], prediction: Path, true: dict[str, Path], reference: Path) -> None:
    for kind, folder, names in (
        ("predictions", prediction, [k for k in true if k not in predicted]),
        ("references", reference, [k for k in predicted if k not in true]),
    ):
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            raise DataError(
                f"{folder} lacks the {kind} of tiles {', '.join(names[:5])}{more}; both folders must contain the same tiles"
            )
