"""Run a predictor over the windows of a scene and hand over finished pixels.

Reading, prediction (of two batches) and blending run at the same time, each in its own threads. A window hands on to its
neighbors only the sums at pixels that they share, so memory does not depend on the city's height. The windows that cover
a pixel are always added in the same order, and batches are part of the plan. A strip computed alone is therefore
bit-identical to the strip computed in sequence.

Axes: B batch, K class, C channel, H row, W column.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, TypeVar

import numpy as np

from c2seg.data import Patch
from c2seg.predict.memory import give_back
from c2seg.predict.plan import WindowPlan, taper
from c2seg.predict.timings import Timings
from c2seg.types import Window

__all__ = ["Predictor", "Reader", "ScoreSpace", "Strip", "predict_parts", "predict_rows"]

T = TypeVar("T")
R = TypeVar("R")

Reader = Callable[[Window], tuple[Patch, np.ndarray]]
"""Reads normalized float32 [C, H, W] by modality and valid bool [H, W]; called from several threads."""

_READ_AHEAD = 4  # windows, within
_READ_AHEAD_BYTES = 128 * 2**20
_PREDICT_AHEAD = 1  # batches under way beside the one whose scores are needed next: no thread waits for a batch to end


class Predictor(Protocol):
    """What turns patches into class scores. ``halo_px`` is the margin it needs around each window."""

    @property
    def num_classes(self) -> int:
        """Number of score channels."""

    @property
    def halo_px(self) -> int:
        """Pixels around a window that are read with it and for which no score is given."""

    def predict(self, patch: Patch, valid: np.ndarray) -> np.ndarray:
        """Return probabilities float32 [B, K, H, W] of normalized float32 [B, C, H + 2 halo, W + 2 halo] by modality.

        ``valid`` is bool [B, H + 2 halo, W + 2 halo]; inputs are 0 where it is False. The caller owns the
        result and changes it in place: the next call must neither change nor read it. Two threads may call at the same time.
        A predictor with a method ``release(scores)`` gets its result back after use, so that it can use the memory again.
        A predictor whose scores can stay on a device has ``on_device``, a ``ScoreSpace``.
        """


class ScoreSpace(Protocol):
    """Where scores are and windows are blended: arrays of numpy, or tensors of a device. Their operators are the same."""

    def predict(self, patch: Patch, valid: np.ndarray) -> Any:
        """Return scores as ``Predictor.predict`` does."""

    def empty(self, shape: tuple[int, ...]) -> Any:
        """Return float32 of any content."""

    def of(self, values: np.ndarray) -> Any:
        """Return an array of numpy."""

    def zeros(self, shape: tuple[int, ...]) -> Any:
        """Return zeros float32 that take no memory."""


@dataclass(frozen=True)
class _Numpy:
    """Scores of a predictor as arrays."""

    predictor: Predictor

    def predict(self, patch: Patch, valid: np.ndarray) -> np.ndarray:
        return self.predictor.predict(patch, valid)

    def empty(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.empty(shape, np.float32)

    def of(self, values: np.ndarray) -> np.ndarray:
        return values

    def zeros(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.broadcast_to(np.float32(0), shape)


@dataclass(frozen=True)
class Strip:
    """Finished pixels: rows ``first .. last-1`` from column ``col`` on, weighted sums of scores and valid bool [H, W].

    The sums float32 [K, H, W], of numpy or a tensor of a device, order the classes as the scores do, which are the sums divided
    by ``weights``. Sums and validity are views until the next strip.
    """

    index: int
    first: int
    last: int
    sums: Any
    valid: np.ndarray
    row_weights: np.ndarray | None = None
    col_weights: np.ndarray | None = None
    col: int = 0

    @property
    def end(self) -> int:
        """The column after the last."""
        return self.col + int(self.valid.shape[1])

    @property
    def scores(self) -> np.ndarray:
        """Blended scores float32 [K, H, W], of sums of numpy."""
        return np.asarray(
            self.sums if self.row_weights is None else self.sums / self.weights(0, self.last - self.first)
        )

    def weights(self, first: int, last: int) -> np.ndarray:
        """Return what the sums of rows ``first .. last-1`` of the strip are to be divided by, float32 [H, W]."""
        if self.row_weights is None or self.col_weights is None:
            return np.ones((1, 1), np.float32)
        return np.asarray(self.row_weights[first:last, None] * self.col_weights[None, :])


@dataclass(frozen=True)
class _Read:
    """A window's input; without ``patch`` if no pixel is valid. ``valid`` is bool [H, W] without the halo."""

    window: Window
    patch: Patch
    valid: np.ndarray
    valid_with_halo: np.ndarray
    input_bytes: int


@dataclass(frozen=True)
class _Scored:
    """Windows in their order with valid bool [H, W], and the scores [K, H, W] of each; None where no pixel is valid.

    ``batch`` [B, K, H, W] holds the scores, as the predictor made them; None if no window has a valid pixel.
    """

    windows: list[tuple[Window, np.ndarray]]
    scores: list[Any | None]
    batch: Any | None


def predict_rows(
    reader: Reader, predictor: Predictor, plan: WindowPlan, *, batch_size: int = 1, strips: range | None = None
) -> Generator[Strip]:
    """Yield the finished strips of ``plan`` as wide as the raster; see ``predict_parts``."""
    sums = valid = np.empty(0)
    _, cols = plan.weight_sums()
    for part in predict_parts(reader, predictor, plan, batch_size=batch_size, strips=strips):
        if part.col == 0:
            sums = np.empty((predictor.num_classes, part.last - part.first, plan.width), np.float32)
            valid = np.empty(sums.shape[1:], bool)
        sums[:, :, part.col : part.end], valid[:, part.col : part.end] = part.sums, part.valid
        if part.end == plan.width:
            weights = (None, None) if part.row_weights is None else (part.row_weights, cols)
            yield Strip(part.index, part.first, part.last, sums, valid, *weights)


def predict_parts(
    reader: Reader,
    predictor: Predictor,
    plan: WindowPlan,
    *,
    batch_size: int = 1,
    strips: range | None = None,
    readers: int = 1,
    stages: Timings | None = None,
    on_device: bool = False,
) -> Generator[Strip]:
    """Yield the strips of ``plan`` (those in ``strips``; all by default) from top to bottom, each in parts from left to right.

    A part holds the pixels of a window that no later window covers. It lies in the memory of the window's scores, which the
    predictor may get back when the next part is requested. Scores are weighted means of the windows that cover a pixel.
    Windows without a valid pixel are not predicted. ``readers`` is the number of reading
    threads; each decodes blocks of files on its own. ``stages`` collects seconds. ``on_device``: where the predictor's scores
    can stay on a device, they do, and the sums of strips are tensors there.
    """
    requested = strips if strips is not None else range(len(plan.rows))
    if not len(requested):
        return
    stages = stages or Timings()
    rows = range(plan.first_row_for(requested.start), requested.stop)
    space: ScoreSpace | None = getattr(predictor, "on_device", None) if on_device else None
    lent = space is None  # arrays go back to the predictor
    space = space or _Numpy(predictor)
    blend = _Blend(plan, predictor.num_classes, rows.start, space)
    with _threads(readers) as reading, _threads(1 + _PREDICT_AHEAD) as predicting:
        ahead = _READ_AHEAD if lent else max(_READ_AHEAD, batch_size)
        reads = _read(reader, plan, rows, predictor.halo_px, reading, readers, ahead, stages)
        jobs = _jobs(reads, batch_size, plan.cols[-1])
        for scored in _ahead(predicting, lambda job: _score(job, space, stages), jobs, lambda _: _PREDICT_AHEAD):
            for (window, valid), scores in zip(scored.windows, scored.scores, strict=True):
                with stages.time("blend"):
                    part = blend.part(window, scores, valid)
                if part.index >= requested.start:
                    yield part
            if lent and scored.batch is not None:
                give_back(predictor, scored.batch)


class _Blend:
    """Adds windows to the sums of their neighbors, in the memory of their own scores.

    From window to window only what later windows cover too is handed on: the columns to the right in ``left_sums``, the
    rows below in ``below_sums``. Each pixel's windows are added in the order of the plan.
    """

    def __init__(self, plan: WindowPlan, num_classes: int, first_row: int, space: ScoreSpace) -> None:
        self.plan = plan
        self.num_classes = num_classes
        self.space = space
        self.first_row = first_row
        self.rows = {row: index for index, row in enumerate(plan.rows)}
        self.cols = {col: index for index, col in enumerate(plan.cols)}
        self.row_sum, self.col_sum = plan.weight_sums()
        height, width = plan.window_hw
        self.weight = space.of(taper(height, plan.overlap_px)[:, None] * taper(width, plan.overlap_px)[None, :])
        shared = [row + height - later for row, later in pairwise(plan.rows)] if plan.overlap_px else []
        self.below_sums = space.empty((num_classes, max(shared, default=0), plan.cols[-1] + width))
        shared = [col + width - later for col, later in pairwise(plan.cols)] if plan.overlap_px else []
        self.left_sums = space.empty((num_classes, height, max(shared, default=0)))
        self.has_left = False

    def part(self, window: Window, scores: Any | None, valid: np.ndarray) -> Strip:
        """Add a window's scores [K, H, W] (None: no pixel is valid); return the pixels that it finishes."""
        plan = self.plan
        row, col = self.rows[window.row], self.cols[window.col]
        first, last = plan.strips[row]
        end = plan.cols[col + 1] if col + 1 < len(plan.cols) else plan.width
        if plan.overlap_px:
            self._add(window, row, col, scores)
        # Without overlap only the last, moved-back window meets pixels again: the later one stands.
        size = last - first, end - window.col
        sums = self.space.zeros((self.num_classes, *size)) if scores is None else scores[:, : size[0], : size[1]]
        part_valid = valid[: size[0], : size[1]]
        if not plan.overlap_px:
            return Strip(row, first, last, sums, part_valid, col=window.col)
        return Strip(
            row, first, last, sums, part_valid, self.row_sum[first:last], self.col_sum[window.col : end], window.col
        )

    def _add(self, window: Window, row: int, col: int, scores: Any | None) -> None:
        rows, cols = self.plan.rows, self.plan.cols
        above = rows[row - 1] + window.height - rows[row] if row > self.first_row else 0
        columns = cols[col - 1] + window.width - cols[col] if col else 0
        later_rows = rows[row] + window.height - rows[row + 1] if row + 1 < len(rows) else 0
        final = cols[col + 1] - cols[col] if col + 1 < len(cols) else window.width
        below = self.below_sums[:, :, window.col : window.col_end]
        if scores is None:  # its pixels are valid in no window: nothing that is added to them counts
            below[:, :later_rows, :final] = 0
        else:
            for k, values in enumerate(scores):  # class by class stays in the processor's cache
                values *= self.weight  # the frame alone would be less work, but not in one piece: twice the time
                values[:above, columns:] += below[k, :above, columns:]
                if columns and self.has_left:
                    values[:, :columns] += self.left_sums[k, :, :columns]
                below[k, :later_rows, :final] = values[window.height - later_rows :, :final]
                self.left_sums[k, :, : window.width - final] = values[:, final:]
        self.has_left = scores is not None


def _read(
    reader: Reader,
    plan: WindowPlan,
    rows: range,
    halo: int,
    pool: ThreadPoolExecutor,
    readers: int,
    ahead: int,
    stages: Timings,
) -> Iterator[_Read]:
    """Yield the windows of each row of windows; read up to ``ahead`` windows ahead, as far as memory allows."""

    def read(window: Window) -> _Read:
        with stages.time("read"):
            patch, valid_with_halo = reader(window.expand(halo))
            valid = valid_with_halo[halo : halo + window.height, halo : halo + window.width]
            size = sum(values.nbytes for values in patch.values())
            return _Read(window, patch if valid.any() else {}, valid, valid_with_halo, size)

    def depth(latest: _Read | None) -> int:
        if latest is None:
            return readers
        return max(readers, min(ahead, _READ_AHEAD_BYTES // latest.input_bytes))

    yield from _ahead(pool, read, (window for index in rows for window in plan.windows(index)), depth)


def _jobs(reads: Iterator[_Read], size: int, last_col: int) -> Iterator[list[_Read]]:
    """Collect windows into batches of ``size`` that hold a valid pixel; a batch never spans two rows of windows."""
    batch: list[_Read] = []
    for read in reads:
        batch.append(read)
        if sum(bool(one.patch) for one in batch) == size or read.window.col == last_col:
            yield batch
            batch = []


def _score(job: list[_Read], space: ScoreSpace, stages: Timings) -> _Scored:
    batch = [read for read in job if read.patch]
    scores: Any | None = None
    if batch:
        with stages.time("predict"):
            patch = {name: _stack([read.patch[name] for read in batch]) for name in batch[0].patch}
            scores = space.predict(patch, _stack([read.valid_with_halo for read in batch]))
    one_by_one = iter(() if scores is None else scores)
    windows = [(read.window, read.valid) for read in job]  # without the inputs, which are not needed any more
    return _Scored(windows, [next(one_by_one) if read.patch else None for read in job], scores)


def _stack(arrays: list[np.ndarray]) -> np.ndarray:
    return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)


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
