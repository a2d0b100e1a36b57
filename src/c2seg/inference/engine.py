"""Run a predictor over the windows of a scene and hand over finished rows.

Scores are blended in a rolling strip as high as one window; memory does not depend on the city's height. The windows that
cover a pixel are always added in the same order and batches are part of the plan, so a strip computed alone has the same
bits as the strip computed in sequence.

Axes: B batch, K class, C channel, H row, W column.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from c2seg.data import Patch
from c2seg.inference.plan import WindowPlan, taper
from c2seg.types import Window

__all__ = ["Predictor", "Strip", "map_rows"]

T = TypeVar("T")
R = TypeVar("R")


class Predictor(Protocol):
    """What turns patches into class scores. ``halo_px`` is the margin it needs around each window."""

    @property
    def num_classes(self) -> int:
        """Number of score channels."""

    @property
    def halo_px(self) -> int:
        """Pixels around a window that are read with it and for which no score is given."""

    def predict(self, patch: Patch, valid: np.ndarray) -> np.ndarray:
        """Return probabilities float32 [B, K, H, W] of normalised float32 [B, C, H + 2 halo, W + 2 halo] by modality.

        ``valid`` is bool [B, H + 2 halo, W + 2 halo]; inputs are 0 where it is False.
        """


@dataclass(frozen=True)
class Strip:
    """Finished rows ``first .. last-1``: blended scores float32 [K, H, W] (a view, valid until the next) and valid bool."""

    index: int
    first: int
    last: int
    scores: np.ndarray
    valid: np.ndarray


def map_rows(
    reader: Callable[[Window], tuple[Patch, np.ndarray]],
    predictor: Predictor,
    plan: WindowPlan,
    *,
    batch_size: int = 1,
    strips: range | None = None,
    readers: int = 2,
) -> Iterator[Strip]:
    """Yield the finished strips of ``plan`` (those in ``strips``; all by default) from top to bottom.

    Scores are weighted means of the windows that cover a pixel; windows without a valid pixel are not predicted.
    """
    wanted = strips if strips is not None else range(len(plan.rows))
    if not len(wanted):
        return
    height, width = plan.window_hw
    span = plan.cols[-1] + width
    scores = np.zeros((predictor.num_classes, height, span), np.float32)
    valid = np.zeros((height, span), bool)
    row_taper, col_taper = taper(height, plan.overlap_px), taper(width, plan.overlap_px)
    weight = row_taper[:, None] * col_taper[None, :]
    row_sum, col_sum = plan.weight_sums()
    start = plan.first_row_for(wanted.start)
    with ThreadPoolExecutor(max(1, readers)) as pool:
        todo = ((index, window) for index in range(start, wanted.stop) for window in plan.windows(index))
        halo = predictor.halo_px
        patches = _read_ahead(pool, lambda item: (item, reader(item[1].expand(halo))), todo, depth=2 * readers)
        rows = _group(patches)
        for index in range(start, wanted.stop):
            for batch in _batches(next(rows), batch_size, halo):
                _add(batch, predictor, weight if plan.overlap_px else None, scores, valid)
            first, last = plan.strips[index]
            if index >= wanted.start:
                part = scores[:, : last - first, : plan.width]
                if plan.overlap_px:
                    part = part / (row_sum[first:last, None] * col_sum[None, :])
                yield Strip(index, first, last, part, valid[: last - first, : plan.width])
            _roll(scores, last - first)
            _roll(valid[None], last - first)


Read = tuple[tuple[int, Window], tuple[Patch, np.ndarray]]


def _group(patches: Iterator[Read]) -> Iterator[list[Read] | Iterator[Read]]:
    """Group reads by row of windows, lazily."""
    from itertools import groupby

    for _, group in groupby(patches, key=lambda read: read[0][0]):
        yield group


def _batches(reads: Iterable[Read], size: int, halo: int) -> Iterator[list[tuple[Window, Patch, np.ndarray]]]:
    """Collect windows that hold a valid pixel into batches; a batch never spans two rows of windows."""
    batch: list[tuple[Window, Patch, np.ndarray]] = []
    for (_, window), (patch, valid) in reads:
        if valid[halo : halo + window.height, halo : halo + window.width].any():
            batch.append((window, patch, valid))
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _add(
    batch: list[tuple[Window, Patch, np.ndarray]],
    predictor: Predictor,
    weight: np.ndarray | None,
    scores: np.ndarray,
    valid: np.ndarray,
) -> None:
    halo = predictor.halo_px
    stacked = {name: np.stack([patch[name] for _, patch, _ in batch]) for name in batch[0][1]}
    result = predictor.predict(stacked, np.stack([usable for _, _, usable in batch]))
    for (window, _, usable), part in zip(batch, result, strict=True):
        cols = slice(window.col, window.col_end)
        inner = usable[halo : halo + window.height, halo : halo + window.width]
        if weight is None:
            # Without overlap only the last, moved-back window meets pixels again: the later one stands.
            scores[:, :, cols] = np.where(inner, part, scores[:, :, cols])
        else:
            scores[:, :, cols] += part * weight
        valid[:, cols] |= inner


def _roll(buffer: np.ndarray, rows: int) -> None:
    """Move the strip up by ``rows`` and clear what comes in, in place."""
    kept = buffer.shape[1] - rows
    if kept > 0:
        # Band by band and in row order: source and destination overlap.
        for band in buffer:
            for first in range(0, kept, rows):
                last = min(first + rows, kept)
                band[first:last] = band[first + rows : last + rows]
    buffer[:, max(0, kept) :] = 0


def _read_ahead(pool: ThreadPoolExecutor, function: Callable[[T], R], items: Iterable[T], depth: int) -> Iterator[R]:
    """Yield ``function(item)`` in order, with up to ``depth`` calls under way in the pool's threads."""
    waiting: deque[Future[R]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > depth:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
