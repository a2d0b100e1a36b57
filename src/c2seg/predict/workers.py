"""Strips computed by several processes on one machine. The calling process alone writes the ledger."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np

from c2seg.artifacts import StripNote
from c2seg.errors import C2SegError, MissingExtraError
from c2seg.legend import Legend
from c2seg.predict.cache import block_cache
from c2seg.predict.decision import Decision
from c2seg.predict.engine import Predictor, Reader, Strip, predict_parts
from c2seg.predict.layers import decide, expected_pixels, layer_shapes
from c2seg.predict.plan import WindowPlan
from c2seg.predict.scratch import RowFiles
from c2seg.predict.timings import Timings
from c2seg.process import keep_freed_memory, return_freed_memory, set_up

__all__ = ["Build", "Work", "chunks", "peak_memory_mib", "run_strips", "run_workers"]

_CHUNK_STRIPS = 16  # least per task where there are many: each task computes one row of windows a second time
# Freed memory is returned after so many pixels: gaps between arrays add up, but new pages cost time.
_TIDY_PIXELS = 2_000_000

Build = Callable[[], tuple[Reader, Predictor]]
Finished = Callable[[int, StripNote], None]


@dataclass(frozen=True)
class Work:
    """What is computed for every strip, and where its rows go. Picklable."""

    plan: WindowPlan
    legend: Legend
    layers: tuple[str, ...]
    batch_size: int
    folder: Path
    decision: Decision | None = None
    temperature: float | None = None

    def row_files(self) -> RowFiles:
        """Return the files of finished rows, not yet open."""
        shapes = layer_shapes(self.layers, self.plan.width, self.legend.num_classes)
        return RowFiles(self.folder, self.plan.height, shapes)


def run_strips(
    work: Work, reader: Reader, predictor: Predictor, rows: RowFiles, strips: range, stages: Timings, finished: Finished
) -> None:
    """Compute strips, store their rows, and call ``finished(index, note)`` for each whose rows are on disk.

    Rows are written while the next strip is computed; an error or a stop does not lose a strip that was finished before.
    """
    pending: tuple[Future[dict[str, int]], int, StripNote] | None = None

    def write(first: int, layers: dict[str, np.ndarray]) -> dict[str, int]:
        with stages.time("write"):
            return rows.write(first, layers)

    def settle() -> None:
        nonlocal pending
        if pending is not None:
            (written, index, note), pending = pending, None
            finished(index, note.model_copy(update={"checksums": written.result()}))

    parts = predict_parts(reader, predictor, work.plan, batch_size=work.batch_size, strips=strips, stages=stages)
    strip: _Strip | None = None
    pixels = 0
    with ThreadPoolExecutor(1) as pool, closing(parts):
        try:
            for part in parts:
                with stages.time("blend"):
                    strip = strip or _Strip(work, part)
                    strip.add(part)
                pixels += part.valid.size
                if pixels >= _TIDY_PIXELS:
                    pixels = 0
                    return_freed_memory()
                if part.end == work.plan.width:
                    settle()
                    pending = pool.submit(write, part.first, strip.layers), part.index, strip.note()
                    strip = None
        finally:
            settle()


class _Strip:
    """The layers of a strip, uint8 [rows, ..., W] by name, and what the ledger notes of it, from its parts."""

    def __init__(self, work: Work, part: Strip) -> None:
        self.work = work
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


def chunks(missing: Sequence[int], workers: int) -> list[range]:
    """Return the missing strips as contiguous ranges, several for each worker where there are many strips."""
    strips_per_worker = -(-len(missing) // workers)
    size = max(
        1, strips_per_worker if strips_per_worker < 2 * _CHUNK_STRIPS else max(_CHUNK_STRIPS, strips_per_worker // 4)
    )
    runs: list[range] = []
    for index in missing:
        if runs and runs[-1].stop == index and (workers == 1 or len(runs[-1]) < size):
            runs[-1] = range(runs[-1].start, index + 1)
        else:
            runs.append(range(index, index + 1))
    return runs


def run_workers(
    count: int, work: Work, build: Build, tasks: Sequence[range], stages: Timings, finished: Finished
) -> float:
    """Compute the tasks in ``count`` processes; return the sum of their peak memory in MiB.

    ``build`` makes reader and predictor in each process and must be picklable. An error in one stops all; what was
    finished before stays. Raises that error, or C2SegError when a process was killed.
    """
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks of GDAL and the network
    remaining = list(reversed(tasks))
    memory = 0.0
    processes: dict[Connection, Any] = {}
    try:
        for _ in range(min(count, len(tasks))):
            ours, theirs = context.Pipe()
            process = context.Process(target=_worker, args=(theirs, work, build), daemon=True)
            process.start()
            theirs.close()
            processes[ours] = process
        while processes:
            for connection in wait(list(processes)):
                assert isinstance(connection, Connection)
                kind, content = _receive(connection)
                if kind == "ready":
                    connection.send(remaining.pop() if remaining else None)
                elif kind == "strip":
                    finished(*content)
                elif kind == "error":
                    raise content[0](content[1])
                else:
                    memory += content[0]
                    stages.add(content[1])
                    processes.pop(connection).join()
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            process.join()
    return memory


def _receive(connection: Connection) -> tuple[str, Any]:
    try:
        message: tuple[str, Any] = connection.recv()
    except (EOFError, ConnectionResetError) as error:
        raise C2SegError(
            "a worker process was killed (out of memory?); finished rows are kept: run the same command to resume, "
            "with fewer `workers` if memory is short"
        ) from error
    return message


def _worker(connection: Connection, work: Work, build: Build) -> None:
    """Compute the strips that come through the connection until None comes."""
    set_up()
    keep_freed_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent decides
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()
    stages = Timings()
    try:
        reader, predictor = build()
        rows = work.row_files()
        rows.open()
        connection.send(("ready", None))
        with block_cache(reader, work.plan):
            while (strips := connection.recv()) is not None:
                run_strips(
                    work, reader, predictor, rows, strips, stages,
                    lambda index, note: connection.send(("strip", (index, note))),
                )  # fmt: skip
                connection.send(("ready", None))
        connection.send(("done", (peak_memory_mib(), stages.as_dict())))
    except C2SegError as error:
        kind = C2SegError if isinstance(error, MissingExtraError) else type(error)
        connection.send(("error", (kind, str(error))))
    except Exception:
        connection.send(("error", (RuntimeError, f"in a worker process:\n{traceback.format_exc()}")))


def _follow(sentinel: int) -> None:
    """End this process when its parent is gone, however that came about."""
    wait([sentinel])
    os._exit(1)


def peak_memory_mib() -> float:
    """Return the largest resident memory of this process so far, MiB."""
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1024
    except (OSError, StopIteration):  # getrusage also counts the memory of the process that started this one
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
