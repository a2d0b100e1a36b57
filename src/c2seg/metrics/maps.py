"""Counts from map files: single rasters and folders of tiles, aligned by their grids and streamed by blocks.

The pixels of the ground truth are counted. Pixels that the prediction does not cover are errors, like other predictions
outside the legend.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from c2seg.errors import C2SegError, DataError, GridError, InputError
from c2seg.legend import BACKGROUND, IGNORE, Legend
from c2seg.metrics.confusion import Confusion, block_counts, fold_histogram, joint_histogram
from c2seg.metrics.protocols import PROTOCOLS, protocol_ids
from c2seg.progress import Progress, no_progress
from c2seg.raster import GridRelation, RasterFile, read_boundless, relate_grids
from c2seg.types import Grid, Window

__all__ = [
    "MapPair",
    "ReferenceCode",
    "count_maps",
    "find_tiles",
    "pair_maps",
    "read_pair",
    "reference_ids",
    "run_strips",
    "strips",
]

_STRIP_PX = 2_000_000  # pixels of ground truth per read of a worker
_TILE_SUFFIXES = (".tif", ".tiff", ".png")
_TILE_STEM = re.compile(r"(?P<key>.+?)(_prediction)?")

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class ReferenceCode:
    """Meaning of reference values: the legend, and the label mapping of the files (``challenge``: class ids)."""

    legend: Legend
    label_map: str = "challenge"


@dataclass(frozen=True, slots=True)
class MapPair:
    """A prediction and its ground truth. ``relation`` is the relation of the prediction's grid to that of the ground truth.

    ``by_index`` is True if one of them has no georeference and pixels are matched by row and column. ``valid`` is an optional
    raster on the ground truth's grid. Only pixels where it is non-zero are counted.
    """

    prediction: RasterFile
    reference: RasterFile
    relation: GridRelation
    by_index: bool
    valid: RasterFile | None = None
    valid_relation: GridRelation | None = None


def pair_maps(
    prediction: Path, reference: Path, *, by_index: bool = False, valid: Path | None = None
) -> tuple[MapPair, ...]:
    """Match a prediction with its ground truth: two files, two folders of tiles, or a file and a city folder (``label.tif``).

    Tiles are matched by number (``7.tif``, ``7.tiff``, ``7.png``, ``7_prediction.tif``), other names by their stem. Both
    folders must contain the same tiles. Two georeferenced files are matched by their grids, which must be aligned. If one of
    two numbered tiles has no georeference, they are matched by row and column and must have equal size. Single files need
    ``by_index`` for this. Raises DataError, GridError or InputError.
    """
    if prediction.is_dir() and reference.is_dir():
        if valid is not None:
            raise InputError("a raster of valid pixels can be used with a single map, not with folders of tiles")
        predicted, true = find_tiles(prediction), find_tiles(reference)
        _same_tiles(predicted, prediction, true, reference)
        return tuple(_pair(predicted[key], true[key], by_index=by_index, numbered=True) for key in true)
    if prediction.is_dir():
        raise DataError(
            f"{prediction} is a folder of tiles but the ground truth {reference} is not; give two folders or two files"
        )
    pair = _pair(prediction, _label_file(reference), by_index=by_index, numbered=False)
    if valid is None:
        return (pair,)
    mask = RasterFile(valid, (0,))
    relation = relate_grids(pair.reference.grid, mask.grid, reference.name, valid.name)
    return (MapPair(pair.prediction, pair.reference, pair.relation, pair.by_index, mask, relation),)


def check_reference(grid: Grid, name: str, reference: Path, *, by_index: bool = False) -> None:
    """Raise DataError or GridError if a map ``name`` on this grid cannot be scored with the ground truth.

    The ground truth is a label raster or a city folder (``label.tif``).
    """
    _relate(grid, name, _class_raster(_label_file(reference)), by_index=by_index, numbered=False)


def find_tiles(folder: Path) -> dict[str, Path]:
    """Return the tiles of a folder by key: numbers in numeric order, then other names in alphabetic order.

    The key is the stem without ``_prediction`` and without leading zeros. Raises DataError for a folder without tiles or with
    two files for a key.
    """
    tiles: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in _TILE_SUFFIXES or path.name.startswith(".") or not path.is_file():
            continue
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


def count_maps(
    pairs: Sequence[MapPair],
    code: ReferenceCode,
    *,
    protocol: str = "challenge",
    block_px: int | None = None,
    workers: int = 1,
    progress: Progress = no_progress,
) -> list[Confusion]:
    """Count pairs of maps block by block. The sum of the result is the count of all maps.

    ``block_px`` divides the maps into squares of this side, with one Confusion each in a fixed order, for the block
    bootstrap. None gives larger strips. Memory depends on the size of strips and on ``workers`` (threads), not on the size of
    the maps. Raises DataError for ground truth values outside the legend. Some protocols (``challenge``) also reject
    predicted values outside it.
    """
    ids = protocol_ids(code.legend.ids, protocol)
    refuse = PROTOCOLS[protocol].refuses_outside

    def count(pair: MapPair, window: Window) -> np.ndarray:
        reference, prediction = read_pair(pair, window, code)
        whole = _count(reference, prediction, ids, refuse, pair).counts
        return whole[None] if block_px is None else block_counts(reference, prediction, ids, block_px)

    jobs = strips(pairs, block_px)
    blocks = [1 if block_px is None else -(-w.height // block_px) * -(-w.width // block_px) for _, w in jobs]
    # One array for all results: small arrays between the large temporaries of the strips would fragment the heap.
    counts = np.empty((sum(blocks), len(ids), len(ids) + 1), np.int64)
    done = 0
    for part in run_strips(count, jobs, workers, progress):
        counts[done : done + len(part)] = part
        done += len(part)
    return [Confusion(ids, block) for block in counts]


def strips(pairs: Iterable[MapPair], unit_px: int | None = None) -> list[tuple[MapPair, Window]]:
    """Divide the ground truth into full-width strips of about 2 million pixels. Heights are multiples of ``unit_px``."""
    jobs = []
    for pair in pairs:
        height, width = pair.reference.height, pair.reference.width
        unit = unit_px or 256
        rows = unit * max(1, _STRIP_PX // (unit * width))
        jobs += [(pair, Window(r, 0, min(rows, height - r), width)) for r in range(0, height, rows)]
    return jobs


def run_strips(
    function: Callable[[MapPair, Window], Result],
    jobs: Sequence[tuple[MapPair, Window]],
    workers: int,
    progress: Progress,
) -> Iterator[Result]:
    """Yield ``function(pair, window)`` of all strips in order. ``workers`` threads compute a few strips ahead."""

    def run(pair: MapPair, window: Window) -> Result:
        try:
            return function(pair, window)
        finally:  # thousands of tiles must not stay open
            for raster in (pair.prediction, pair.reference, pair.valid):
                if raster is not None:
                    raster.close()

    total = sum(window.height * window.width for _, window in jobs)
    done = 0
    with ThreadPoolExecutor(workers) as pool:
        remaining = iter(jobs)
        ahead = [(w, pool.submit(run, p, w)) for p, w in islice(remaining, 2 * workers)]
        while ahead:
            window, future = ahead.pop(0)
            yield future.result()
            ahead += [(w, pool.submit(run, p, w)) for p, w in islice(remaining, 1)]
            done += window.height * window.width
            progress(done, total)


def read_pair(pair: MapPair, window: Window, code: ReferenceCode) -> tuple[np.ndarray, np.ndarray]:
    """Read ground truth and prediction of a window on the ground truth's grid: two uint8 [H, W] of class ids.

    The window may extend beyond the ground truth, where ids are 0. Predicted values that are not in 0..255 become 255. In both
    maps a nodata value that is not a class becomes 0. Ground truth becomes 0 where the ``valid`` raster is 0.
    """
    reference = reference_ids(pair.reference, window, code)
    if pair.valid is not None and pair.valid_relation is not None:
        reference = np.where(_read_under(pair.valid, pair.valid_relation, window) != 0, reference, np.uint8(BACKGROUND))
    raw = _read_under(pair.prediction, pair.relation, window)
    nodata = pair.prediction.nodata
    if nodata is not None and nodata not in code.legend.ids and nodata != BACKGROUND:
        raw = np.where(_equals(raw, nodata), raw.dtype.type(BACKGROUND), raw)
    if raw.dtype != np.uint8:
        is_id = (raw >= 0) & (raw <= IGNORE) & (raw == np.trunc(raw))
        raw = np.where(is_id, raw, IGNORE).astype(np.uint8)
    return reference, raw


def _pair(prediction: Path, reference: Path, *, by_index: bool, numbered: bool) -> MapPair:
    predicted, true = _class_raster(prediction), _class_raster(reference)
    relation, index = _relate(predicted.grid, str(prediction), true, by_index=by_index, numbered=numbered)
    return MapPair(predicted, true, relation, index)


def _label_file(reference: Path) -> Path:
    """Return the label raster of the ground truth, which may be a city folder."""
    if not reference.is_dir():
        return reference
    if not (reference / "label.tif").is_file():
        raise DataError(
            f"the ground truth {reference} is a folder without label.tif; give the label file, or two folders of tiles"
        )
    return reference / "label.tif"


def _class_raster(path: Path) -> RasterFile:
    raster = RasterFile(path)
    if raster.count != 1:
        raise DataError(f"{path} has {raster.count} bands; a map of classes has one")
    return raster


def _relate(grid: Grid, name: str, true: RasterFile, *, by_index: bool, numbered: bool) -> tuple[GridRelation, bool]:
    """Return the relation of the map ``name`` to the ground truth, and whether pixels are matched by row and column."""
    unplaced = _no_georeference(grid) or _no_georeference(true.grid)
    if unplaced and (numbered or by_index or _no_georeference(grid) == _no_georeference(true.grid)):
        if (grid.height, grid.width) != (true.height, true.width):
            raise GridError(
                f"{name} is {grid.height} x {grid.width} pixels, its ground truth {true.path} {true.height} x {true.width}; "
                "without georeference on both sides the sizes must be equal"
            )
        return GridRelation(), True
    if unplaced:
        raise GridError(
            f"{name} and {true.path}: only one has a georeference; add it to the other, or match rows "
            "and columns with `by_index=True`"
        )
    return relate_grids(true.grid, grid, str(true.path), name), False


def _no_georeference(grid: Grid) -> bool:
    return grid.crs is None and grid.transform.is_identity


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


def _count(
    reference: np.ndarray, prediction: np.ndarray, ids: tuple[int, ...], refuse: bool, pair: MapPair
) -> Confusion:  # fmt: skip
    histogram = joint_histogram(reference, prediction)
    if refuse:
        predicted = histogram.sum(0)
        predicted[[BACKGROUND, *ids]] = 0
        if predicted.any():
            raise DataError(
                f"{pair.prediction.path} contains values {np.flatnonzero(predicted)[:8].tolist()} outside the legend's "
                f"ids {list(ids)} (0 is nodata), which the challenge protocol rejects; correct the map, or select "
                "another protocol, where they count as errors"
            )
    try:
        return fold_histogram(histogram, ids)
    except DataError as error:
        raise DataError(f"{pair.reference.path}: {error}") from error


def reference_ids(source: RasterFile, window: Window, code: ReferenceCode) -> np.ndarray:
    """Read class ids (uint8 [H, W]) of a window of a ground truth raster. Nodata and pixels outside are 0."""
    values = read_boundless(source, window)[0][0]
    codes = code.legend.label_maps.get(code.label_map) or {i: i for i in code.legend.ids}
    nodata = source.nodata
    missing = None if nodata is None or codes.get(nodata) else _equals(values, nodata)  # type: ignore[call-overload]
    if values.dtype == np.uint8 and code.label_map == "challenge":
        return values if missing is None else np.where(missing, np.uint8(BACKGROUND), values)
    known = slice(None) if missing is None else ~missing
    ids = np.zeros(values.shape, np.uint8)
    try:
        ids[known] = code.legend.apply_label_map(values[known], code.label_map)
    except C2SegError as error:
        raise type(error)(f"{source.path}: {error}") from error
    return ids


def _read_under(source: RasterFile, relation: GridRelation, window: Window) -> np.ndarray:
    """Read a window [H, W] on the ground truth's grid from a raster that may be coarser; 0 outside the raster."""
    coarse = relation.to_coarse(window)
    values: np.ndarray = read_boundless(source, coarse)[0][0]
    if relation.ratio == 1:
        return values
    fine = relation.to_fine(coarse)
    rows, cols = window.shift(-fine.row, -fine.col).slices
    repeated: np.ndarray = values.repeat(relation.ratio, 0)[rows].repeat(relation.ratio, 1)[:, cols]
    return repeated


def _equals(values: np.ndarray, nodata: float) -> np.ndarray:
    same: np.ndarray = np.isnan(values) if np.isnan(nodata) else values == nodata
    return same
