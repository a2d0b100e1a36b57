"""The pieces of all layers computed, by one process or several; the calling process alone writes the ledger."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_for

import rasterio
from threadpoolctl import threadpool_limits

from c2seg.errors import C2SegError
from c2seg.prepare.layer import ImageLayer
from c2seg.prepare.scratch import STRIP_PX, LayerFile, Piece, Scratch
from c2seg.process import set_up
from c2seg.progress import Progress

__all__ = ["Job", "compute"]

_CACHE_BYTES = 256 << 20
"""Decoded blocks of native files: a row of JPEG 2000 tiles in all bands of a Sentinel-2 tile, so that none is decoded twice."""
_TASK_STRIPS = 2
"""Strips computed by one process in a row: JPEG 2000 tiles have 1024 rows."""


@dataclass(frozen=True)
class Job:
    """A layer and where its pieces go. Picklable."""

    layer: ImageLayer
    file: LayerFile

    def run(self, number: int) -> Piece:
        """Compute a piece and store it."""
        window = self.file.windows[number]
        return self.file.write(window, *self.layer.read(window))


def compute(jobs: Sequence[Job], scratch: Scratch, workers: int, progress: Progress) -> None:
    """Compute the pieces that are missing. Raises DataError for damaged inputs; finished pieces stay on disk."""
    total = sum(job.file.height * job.file.width * job.file.count for job in jobs)
    sizes = {
        (job.file.name, number): window.height * window.width * job.file.count
        for job in jobs
        for number, window in enumerate(job.file.windows)
    }
    done = float(sum(sizes[key] for key in scratch.finished if key in sizes))
    progress(done, total, "resumed" if done else "")

    def finished(name: str, number: int, piece: Piece) -> None:
        nonlocal done
        scratch.enter(name, number, piece)
        done += sizes[name, number]
        progress(done, total, name)

    tasks = list(_tasks(jobs, scratch))
    if workers > 1 and len(tasks) > 1:
        _in_processes(jobs, tasks, min(workers, len(tasks)), finished)
    else:
        with rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES):
            for index, numbers in tasks:
                for number in numbers:
                    finished(jobs[index].file.name, number, jobs[index].run(number))


def _tasks(jobs: Sequence[Job], scratch: Scratch) -> Iterator[tuple[int, list[int]]]:
    """Yield the missing pieces: the number of the job, and pieces that belong together."""
    for index, job in enumerate(jobs):
        rows: dict[int, list[int]] = {}
        for number, window in enumerate(job.file.windows):
            if (job.file.name, number) not in scratch.finished:
                rows.setdefault(window.row // (STRIP_PX * _TASK_STRIPS), []).append(number)
        yield from ((index, numbers) for numbers in rows.values())


def _in_processes(
    jobs: Sequence[Job],
    tasks: Sequence[tuple[int, list[int]]],
    workers: int,
    finished: Callable[[str, int, Piece], None],
) -> None:
    context = multiprocessing.get_context("spawn")  # a fork would copy the locks of GDAL's threads
    pending = list(reversed(tasks))
    running: dict[Future[list[Piece]], tuple[int, list[int]]] = {}
    pool = ProcessPoolExecutor(workers, context, _start_worker, (tuple(jobs),))
    try:
        while pending or running:
            while pending and len(running) < workers:
                task = pending.pop()
                running[pool.submit(_run, *task)] = task
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                index, numbers = running.pop(future)
                for number, piece in zip(numbers, future.result(), strict=True):
                    finished(jobs[index].file.name, number, piece)
    except BrokenProcessPool as error:
        raise C2SegError(
            "a worker process was killed (out of memory?); finished parts are kept: run the same command to resume, with "
            "fewer `workers` if memory is short"
        ) from error
    finally:
        if running:  # stopped by an error or a signal: do not wait for what is under way
            for process in list((pool._processes or {}).values()):
                process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)


_jobs: tuple[Job, ...] = ()
"""What a worker process works on; empty in others."""


def _start_worker(jobs: tuple[Job, ...]) -> None:
    global _jobs
    set_up()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent decides
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()
    _jobs = jobs
    threadpool_limits(1)  # small matrix products: other threads would only spin


def _run(index: int, numbers: list[int]) -> list[Piece]:
    with rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES):
        return [_jobs[index].run(number) for number in numbers]


def _follow(sentinel: int) -> None:
    """End this process when its parent is gone, however that came about."""
    wait_for([sentinel])
    os._exit(1)
