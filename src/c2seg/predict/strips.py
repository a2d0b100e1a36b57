"""Strips of a map as tasks: computed here or by any worker, stored by the calling process alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import TracebackType

import numpy as np

from c2seg.artifacts import StripNote
from c2seg.checksums import checksum
from c2seg.legend import Legend
from c2seg.predict.agreement import sample_windows
from c2seg.predict.cache import block_cache
from c2seg.predict.decision import Decision
from c2seg.predict.engine import Predictor, Reader, Strip, predict_parts
from c2seg.predict.layers import decide, expected_pixels, layer_shapes
from c2seg.predict.parts import NO_PARTS, Encoded, StripParts
from c2seg.predict.plan import WindowPlan
from c2seg.predict.timings import Timings
from c2seg.process import peak_memory_mib, return_freed_memory

__all__ = ["Build", "StripFunction", "StripJob", "StripRows", "StripTask", "Work", "in_parts", "strip_tasks"]

# Freed memory is returned after so many pixels: gaps between arrays add up, but new pages cost time.
_TIDY_PIXELS = 2_000_000

Build = Callable[[], tuple[Reader, Predictor]]


@dataclass(frozen=True)
class Work:
    """What is computed for every strip. Picklable."""

    plan: WindowPlan
    legend: Legend
    layers: tuple[str, ...]
    batch_size: int
    decision: Decision | None = None
    temperature: float | None = None


@dataclass(frozen=True)
class StripTask:
    """A strip, and the one after the last that will follow it in the same map: windows are read ahead that far."""

    index: int
    stop: int


@dataclass(frozen=True)
class StripRows:
    """A finished strip: uint8 [rows, ...] by layer from row ``first`` on, its note, and what it took where it was computed.

    ``encoded`` are layers that are files already, and not yet written; the note has the marks of those that are.
    """

    index: int
    first: int
    layers: dict[str, np.ndarray]
    note: StripNote
    seconds: dict[str, float] = field(default_factory=dict)
    """Busy seconds by stage since the strip before."""
    peak_memory_mib: float = 0.0
    """Of the process since its start."""
    encoded: dict[str, Encoded] = field(default_factory=dict)


@dataclass(frozen=True)
class StripJob:
    """The strips of a map as a job of other processes; ``build`` makes reader and predictor there. Picklable.

    Tasks write those of the ``parts`` that are written by tasks, and return the others.
    """

    work: Work
    build: Build
    parts: StripParts = NO_PARTS

    @contextmanager
    def start(self) -> Iterator[Callable[[StripTask], StripRows]]:
        """Return a function of strips in a worker."""
        self.parts.check_seen()
        reader, predictor = self.build()
        with block_cache(reader, self.work.plan), StripFunction(self.work, reader, predictor) as function:
            yield _InParts(function, self.parts)


@dataclass(frozen=True)
class _InParts:
    """Computes strips and puts their layers in parts."""

    function: StripFunction
    parts: StripParts

    def __call__(self, task: StripTask) -> StripRows:
        strip = self.function(task)
        begun = time.perf_counter()
        strip = in_parts(strip, self.parts, self.parts.by_tasks)
        return replace(strip, seconds={**strip.seconds, "write": time.perf_counter() - begun})

    def check(self) -> int:
        return self.function.check()


def in_parts(strip: StripRows, parts: StripParts, written: Collection[str]) -> StripRows:
    """Return a strip whose layers of ``parts`` are encoded, and those named ``written`` are. What was done before stays.

    Raises OutputError.
    """
    note, encoded = strip.note, dict(strip.encoded)
    layers = {name: rows for name, rows in strip.layers.items() if name not in parts.names}
    if len(layers) < len(strip.layers):
        encoded = parts.encoded(strip.first, strip.layers)
        sums = {name: part.checksum for name, part in encoded.items()}
        note = note.model_copy(update={"checksums": note.checksums | sums})
    marks = parts.put(strip.index, {name: encoded.pop(name) for name in list(encoded) if name in written})
    note = note.model_copy(update={"parts": note.parts | marks})
    return replace(strip, layers=layers, note=note, encoded=encoded)


class StripFunction:
    """Computes strips. One that follows the last one uses its windows; another needs a row of windows a second time.

    Either way a strip is bit-identical. A context: threads that read and predict ahead end with it.
    """

    def __init__(self, work: Work, reader: Reader, predictor: Predictor) -> None:
        self._work, self._reader, self._predictor = work, reader, predictor
        self._stages = Timings()
        self._parts: Generator[Strip] | None = None
        self._next = -1
        self._pixels = 0

    def __call__(self, task: StripTask) -> StripRows:
        """Compute a strip."""
        if self._parts is None or task.index != self._next:
            self.close()
            self._parts = predict_parts(
                self._reader, self._predictor, self._work.plan, batch_size=self._work.batch_size,
                strips=range(task.index, task.stop), stages=self._stages, on_device=True,
            )  # fmt: skip
        strip = self._assembled(self._parts)
        self._next = task.index + 1
        if self._next == task.stop:
            self.close()
        return StripRows(
            task.index, strip.first, strip.layers, strip.note(), self._stages.drain(), round(peak_memory_mib(), 1)
        )

    def _assembled(self, parts: Iterator[Strip]) -> _Strip:
        """Return the next strip of its parts."""
        strip: _Strip | None = None
        for part in parts:
            with self._stages.time("blend"):
                strip = strip or _Strip(self._work, part)
                strip.add(part)
            self._pixels += part.valid.size
            if self._pixels >= _TIDY_PIXELS:
                self._pixels = 0
                return_freed_memory()
            if part.end == self._work.plan.width:
                break
        assert strip is not None
        return strip

    def check(self) -> int:
        """Return a checksum of the probabilities of one window: equal where the same data are read and computed alike."""
        sample = next(sample_windows(self._reader, self._work.plan, self._predictor.halo_px, 1), None)
        return 0 if sample is None else checksum(np.ascontiguousarray(self._predictor.predict(*sample)))

    def close(self) -> None:
        """Drop what is read and predicted ahead."""
        parts, self._parts = self._parts, None
        if parts is not None:
            parts.close()

    def __enter__(self) -> StripFunction:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Strip:
    """The layers of a strip, uint8 [rows, ..., W] by name, and what the ledger notes of it, from its parts."""

    def __init__(self, work: Work, part: Strip) -> None:
        self.work = work
        self.first = part.first
        shapes = layer_shapes(work.layers, work.plan.width, work.legend.num_classes)
        rows = part.last - part.first
        self.layers = {name: np.empty((rows, *shape), dtype) for name, (shape, dtype) in shapes.items()}
        self.counts = np.zeros(256, np.int64)
        self.expected = np.zeros(work.legend.num_classes)

    def add(self, part: Strip) -> None:
        """Decide the classes of a part."""
        work = self.work
        layers, counts = decide(part, work.legend, work.layers, work.decision, work.temperature)
        for name, values in layers.items():
            self.layers[name][..., part.col : part.end] = values
        self.counts += counts
        if work.decision or work.temperature:  # else the map's own counts are the best there is
            self.expected += expected_pixels(part, work.temperature)

    def note(self) -> StripNote:
        """Return pixels by id, and the expected pixels of each class where they differ from the counts."""
        differs = self.work.decision or self.work.temperature
        expected = tuple(round(float(value), 3) for value in self.expected) if differs else None
        return StripNote(counts=tuple(self.counts.tolist()), expected=expected)


def strip_tasks(missing: Sequence[int], workers: int = 1) -> list[StripTask]:
    """Return a task for each missing strip, with the end of the run of missing strips that it belongs to.

    A run also ends where the share of one of ``workers`` does, so that nobody reads ahead into that of another.
    """
    share = -(-len(missing) // max(1, workers)) or 1
    tasks: list[StripTask] = []
    stop = -1
    for number, index in reversed(list(enumerate(missing))):
        if not tasks or tasks[-1].index != index + 1 or (number + 1) % share == 0:
            stop = index + 1
        tasks.append(StripTask(index, stop))
    return tasks[::-1]
