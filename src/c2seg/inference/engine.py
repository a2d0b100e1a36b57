"""Run a predictor over the windows of a scene and hand over finished rows.

Reading, prediction and blending run at the same time, each in its own threads. Scores are blended in a rolling strip as high
as one window; memory does not depend on the city's height. The windows that cover a pixel are always added in the same
order and batches are part of the plan, so a strip computed alone has the same bits as the strip computed in sequence.

Axes: B batch, K class, C channel, H row, W column.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from c2seg.data import Patch
from c2seg.inference.plan import WindowPlan, taper
from c2seg.inference.stages import Stages
from c2seg.types import Window

__all__ = ["Predictor", "Reader", "Strip", "map_rows"]

T = TypeVar("T")
R = TypeVar("R")

Reader = Callable[[Window], tuple[Patch, np.ndarray]]
"""Reads normalised float32 [C, H, W] by modality and valid bool [H, W]; called from several threads."""

_READ_AHEAD = 4  # windows, within
_READ_AHEAD_BYTES = 128 * 2**20
_PREDICT_AHEAD = 2  # batches: one under way, one waiting; of large batches none waits
_LARGE_BATCH_BYTES = 64 * 2**20


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

        ``valid`` is bool [B, H + 2 halo, W + 2 halo]; inputs are 0 where it is False. The result is the caller's: the
        next call must not change it.
        """


@dataclass(frozen=True)
class Strip:
    """Finished rows ``first .. last-1``: weighted sums of scores and valid bool [H, W], both views until the next strip.

    The sums float32 [K, H, W] order the classes as the scores do, which are the sums divided by ``weights``.
    """

    index: int
    first: int
    last: int
    sums: np.ndarray
    valid: np.ndarray
    row_weights: np.ndarray | None = None
    col_weights: np.ndarray | None = None

    @property
    def scores(self) -> np.ndarray:
        """Blended scores float32 [K, H, W]."""
        return self.sums if self.row_weights is None else self.sums / self.weights(0, self.last - self.first)

    def weights(self, first: int, last: int) -> np.ndarray:
        """Return what the sums of rows ``first .. last-1`` of the strip are to be divided by, float32 [H, W]."""
        if self.row_weights is None or self.col_weights is None:
            return np.ones((1, 1), np.float32)
        return np.asarray(self.row_weights[first:last, None] * self.col_weights[None, :])


@dataclass(frozen=True)
class _Read:
    window: Window
    patch: Patch
    valid: np.ndarray


@dataclass(frozen=True)
class _Scored:
    """Scores of a batch, or the end of row ``ends`` of windows."""

    windows: tuple[Window, ...] = ()
    valid: tuple[np.ndarray, ...] = ()
    scores: np.ndarray | None = None
    input_bytes: int = 0
    ends: int | None = None


def map_rows(
    reader: Reader,
    predictor: Predictor,
    plan: WindowPlan,
    *,
    batch_size: int = 1,
    strips: range | None = None,
    readers: int = 1,
    stages: Stages | None = None,
) -> Generator[Strip]:
    """Yield the finished strips of ``plan`` (those in ``strips``; all by default) from top to bottom.

    Scores are weighted means of the windows that cover a pixel; windows without a valid pixel are not predicted.
    ``readers`` is the number of reading threads; each decodes the blocks of files for itself. ``stages`` collects seconds.
    """
    wanted = strips if strips is not None else range(len(plan.rows))
    if not len(wanted):
        return
    stages = stages or Stages()
    strip = _RollingStrip(plan, predictor.num_classes)
    rows = range(plan.first_row_for(wanted.start), wanted.stop)
    with _threads(readers) as reading, _threads(1) as predicting:
        reads = _read(reader, plan, rows, predictor.halo_px, reading, readers, stages)
        jobs = _jobs(reads, batch_size, predictor.halo_px)
        for scored in _ahead(predicting, lambda job: _score(job, predictor, stages), jobs, _predict_ahead):
            with stages.time("blend"):
                strip.add(scored)
            if scored.ends is not None:
                if scored.ends >= wanted.start:
                    yield strip.finished(scored.ends)
                with stages.time("blend"):
                    strip.roll(scored.ends)


class _RollingStrip:
    """The sums of as many rows as a window has."""

    def __init__(self, plan: WindowPlan, num_classes: int) -> None:
        height, width = plan.window_hw
        self.plan = plan
        self.sums = np.zeros((num_classes, height, plan.cols[-1] + width), np.float32)
        self.valid = np.zeros(self.sums.shape[1:], bool)
        tapers = taper(height, plan.overlap_px), taper(width, plan.overlap_px)
        self.weight = tapers[0][:, None] * tapers[1][None, :] if plan.overlap_px else None
        self.row_sum, self.col_sum = plan.weight_sums()
        self.weighted = np.empty((height, width), np.float32)

    def add(self, scored: _Scored) -> None:
        """Add the scores of a batch, window by window."""
        if scored.scores is None:
            return
        for window, valid, scores in zip(scored.windows, scored.valid, scored.scores, strict=True):
            cols = slice(window.col, window.col_end)
            for total, part in zip(self.sums, scores, strict=True):  # class by class stays in the processor's cache
                if self.weight is None:
                    # Without overlap only the last, moved-back window meets pixels again: the later one stands.
                    np.copyto(total[:, cols], part, where=valid)
                else:
                    total[:, cols] += np.multiply(part, self.weight, out=self.weighted)
            self.valid[:, cols] |= valid

    def finished(self, index: int) -> Strip:
        """Return the strip that is whole after row ``index`` of windows."""
        first, last = self.plan.strips[index]
        rows, cols = slice(0, last - first), slice(0, self.plan.width)
        weights = (self.row_sum[first:last], self.col_sum) if self.weight is not None else (None, None)
        return Strip(index, first, last, self.sums[:, rows, cols], self.valid[rows, cols], *weights)

    def roll(self, index: int) -> None:
        """Forget the rows of strip ``index`` and make room below."""
        first, last = self.plan.strips[index]
        _roll(self.sums, last - first)
        _roll(self.valid[None], last - first)


def _read(
    reader: Reader, plan: WindowPlan, rows: range, halo: int, pool: ThreadPoolExecutor, readers: int, stages: Stages
) -> Iterator[_Read | int]:
    """Yield the windows of each row of windows, then the row's index; read ahead as far as memory allows."""

    def read(item: Window | int) -> _Read | int:
        if isinstance(item, int):
            return item
        with stages.time("read"):
            return _Read(item, *reader(item.expand(halo)))

    def depth(latest: _Read | int | None) -> int:
        if not isinstance(latest, _Read):
            return readers
        size = sum(values.nbytes for values in latest.patch.values())
        return max(readers, min(_READ_AHEAD, _READ_AHEAD_BYTES // size))

    def items() -> Iterator[Window | int]:
        for index in rows:
            yield from plan.windows(index)
            yield index

    yield from _ahead(pool, read, items(), depth)


def _jobs(reads: Iterator[_Read | int], size: int, halo: int) -> Iterator[list[_Read] | int]:
    """Collect windows that hold a valid pixel into batches; a batch never spans two rows of windows."""
    batch: list[_Read] = []
    for read in reads:
        if isinstance(read, _Read):
            if _inner(read, halo).any():
                batch.append(read)
            if len(batch) < size:
                continue
        if batch:
            yield batch
            batch = []
        if isinstance(read, int):
            yield read


def _inner(read: _Read, halo: int) -> np.ndarray:
    return read.valid[halo : halo + read.window.height, halo : halo + read.window.width]


def _score(job: list[_Read] | int, predictor: Predictor, stages: Stages) -> _Scored:
    if isinstance(job, int):
        return _Scored(ends=job)
    halo = predictor.halo_px
    with stages.time("predict"):
        patch = {name: _stack([read.patch[name] for read in job]) for name in job[0].patch}
        scores = predictor.predict(patch, _stack([read.valid for read in job]))
    size = sum(values.nbytes for values in patch.values())
    return _Scored(tuple(r.window for r in job), tuple(_inner(r, halo) for r in job), scores, size)


def _predict_ahead(latest: _Scored | None) -> int:
    return 1 if latest is None or latest.input_bytes >= _LARGE_BATCH_BYTES else _PREDICT_AHEAD


def _stack(arrays: list[np.ndarray]) -> np.ndarray:
    return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)


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


@contextmanager
def _threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Give a pool that drops what has not begun when the work stops early."""
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _ahead(
    pool: ThreadPoolExecutor,
    function: Callable[[T], R],
    items: Iterable[T],
    depth: Callable[[R | None], int],
) -> Iterator[R]:
    """Yield ``function(item)`` in order, with up to ``depth(latest result)`` calls under way in the pool's threads.

    When the items fail, what is under way comes first and the error after it: no finished work is lost.
    """
    waiting: deque[Future[R]] = deque()
    allowed = depth(None)
    iterator = iter(items)
    failure: Exception | None = None
    while failure is None:
        try:
            waiting.append(pool.submit(function, next(iterator)))
        except StopIteration:
            break
        except Exception as error:
            failure = error
        while len(waiting) > allowed:
            result = waiting.popleft().result()
            allowed = depth(result)
            yield result
    while waiting:
        yield waiting.popleft().result()
    if failure is not None:
        raise failure
