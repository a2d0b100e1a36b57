"""Counts from maps that were matched with their ground truth, streamed by blocks.

The pixels of the ground truth are counted. Pixels that the prediction does not cover are errors, like other predictions
outside the legend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import numpy as np

from c2seg.data.city import Layer
from c2seg.errors import C2SegError, DataError
from c2seg.legend import BACKGROUND, IGNORE, Legend
from c2seg.metrics.confusion import Confusion, block_counts, fold_histogram, joint_histogram
from c2seg.metrics.pairs import ClassRaster, MapPair
from c2seg.metrics.protocols import PROTOCOLS, protocol_ids
from c2seg.metrics.references import (
    ReferenceCode,
)
from c2seg.progress import Progress, no_progress
from c2seg.raster import read_boundless
from c2seg.types import Window

__all__ = ["count_maps", "count_windows", "read_pair", "reference_ids", "run_strips", "strips"]

_STRIP_PX = 2_000_000  # pixels of ground truth per read of a worker

Result = TypeVar("Result")


def count_maps(
    pairs: Sequence[MapPair],
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
    ids = protocol_ids(pairs[0].code.legend.ids, protocol)
    refuse = PROTOCOLS[protocol].refuses_outside

    def count(pair: MapPair, window: Window) -> np.ndarray:
        reference, prediction = read_pair(pair, window)
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


def count_windows(
    pair: MapPair, windows: Sequence[Window], *, protocol: str = "challenge", workers: int = 1
) -> list[Confusion]:
    """Count windows of a pair of maps, each by itself; as ``count_maps``."""
    ids = protocol_ids(pair.code.legend.ids, protocol)
    refuse = PROTOCOLS[protocol].refuses_outside
    parts = [(pair, part, place) for place, window in enumerate(windows) for part in _parts(window)]

    def count(one: MapPair, window: Window) -> np.ndarray:
        return _count(*read_pair(one, window), ids, refuse, one).counts

    counts = [Confusion.empty(ids) for _ in windows]
    jobs = [(one, window) for one, window, _ in parts]
    for (_, _, place), values in zip(parts, run_strips(count, jobs, workers, no_progress), strict=True):
        counts[place] += Confusion(ids, values)
    return counts


def _parts(window: Window) -> list[Window]:
    """Divide a window into parts of full width and about 2 million pixels."""
    rows = max(1, _STRIP_PX // window.width)
    return [window.rows(row, min(rows, window.height - row)) for row in range(0, window.height, rows)]


def strips(pairs: Iterable[MapPair], unit_px: int | None = None) -> list[tuple[MapPair, Window]]:
    """Divide the ground truth into full-width strips of about 2 million pixels. Heights are multiples of ``unit_px``."""
    jobs = []
    for pair in pairs:
        height, width = pair.height, pair.width
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
            for side in (pair.prediction, pair.reference, pair.valid):
                if side is not None:
                    side.raster.close()

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


def read_pair(pair: MapPair, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Read ground truth and prediction of a window on the grid of the scores: two uint8 [H, W] of class ids.

    The window may extend beyond the ground truth, where ids are 0. Predicted values that are not in 0..255 become 255. In both
    maps a nodata value that is not a class, and what a mask excludes, becomes 0. Ground truth becomes 0 where ``valid`` is 0,
    and where the pair leaves pixels out.
    """
    reference = pair.reference.read_ids(window, lambda raster, part: reference_ids(raster, part, pair.code))
    prediction = pair.prediction.read_ids(window, lambda raster, part: _predicted_ids(raster, part, pair.code.legend))
    if pair.valid is not None:
        marked = pair.valid.read_ids(window, _marked)
        reference = np.where(marked != 0, reference, np.uint8(BACKGROUND))
    if pair.left_out is not None:
        reference = np.where(pair.read_left_out(window), np.uint8(BACKGROUND), reference)
    return reference, prediction


def _predicted_ids(raster: ClassRaster, window: Window, legend: Legend) -> np.ndarray:
    raw: np.ndarray = read_boundless(raster, window)[0][0]
    nodata = raster.nodata
    if nodata is not None and nodata not in legend.ids and nodata != BACKGROUND:
        raw = np.where(_equals(raw, nodata), raw.dtype.type(BACKGROUND), raw)
    if raw.dtype != np.uint8:
        is_id = (raw >= 0) & (raw <= IGNORE) & (raw == np.trunc(raw))
        raw = np.where(is_id, raw, IGNORE).astype(np.uint8)
    return _masked(raster, window, raw)


def _marked(raster: ClassRaster, window: Window) -> np.ndarray:
    """Return uint8 [H, W]: 1 where a raster of valid pixels is neither 0 nor nodata."""
    return Layer(raster, mask=raster.mask).read_marked(window).astype(np.uint8)


def _masked(raster: ClassRaster, window: Window, ids: np.ndarray) -> np.ndarray:
    """Return ids with background where the file's mask excludes a pixel."""
    if raster.mask is None:
        return ids
    return np.where(read_boundless(raster.mask, window)[0][0] != 0, ids, np.uint8(BACKGROUND))


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


def reference_ids(source: ClassRaster, window: Window, code: ReferenceCode) -> np.ndarray:
    """Read class ids (uint8 [H, W]) of a window of a ground truth raster. Nodata, masked pixels and those outside are 0."""
    values = read_boundless(source, window)[0][0]
    codes = code.legend.label_maps.get(code.label_map) or {i: i for i in code.legend.ids}
    nodata = source.nodata
    missing = None if nodata is None or codes.get(nodata) else _equals(values, nodata)  # type: ignore[call-overload]
    if values.dtype == np.uint8 and code.label_map == "challenge":
        ids = values if missing is None else np.where(missing, np.uint8(BACKGROUND), values)
        return _masked(source, window, ids)
    if values.dtype.kind == "f":
        missing = np.isnan(values) if missing is None else missing | np.isnan(values)
    known = slice(None) if missing is None else ~missing
    ids = np.zeros(values.shape, np.uint8)
    try:
        ids[known] = code.legend.apply_label_map(values[known], code.label_map)
    except C2SegError as error:
        raise type(error)(f"{source.path}: {error}") from error
    return _masked(source, window, ids)


def _equals(values: np.ndarray, nodata: float) -> np.ndarray:
    same: np.ndarray = np.isnan(values) if np.isnan(nodata) else values == nodata
    return same
