"""Several trainings at once on a processor.

A small network gains little from a second thread inside its layers, and nothing is lost when another network has that thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TypeVar

import torch

from c2seg.models import choose_device, limit_threads, threads_unchanged
from c2seg.process import processes
from c2seg.train.randomness import randomness_unchanged
from c2seg.train.signals import StopSignal

__all__ = ["max_parallel", "train_in_parallel"]

T = TypeVar("T")


def max_parallel(trainings: int, device: str) -> int:
    """Return how many of so many trainings run at once: on a processor, one for each thread; else one."""
    alone = choose_device(device).type != "cpu" or processes() != 1
    return 1 if alone else max(1, min(trainings, torch.get_num_threads()))


def train_in_parallel(trainings: Sequence[Callable[[StopSignal | None], T]], device: str) -> list[T]:
    """Return what the trainings return, in order; ``max_parallel`` of them run together, each with its share of the threads.

    Their bits are those of a training with so many threads. They are given the signal to stop at; SIGINT and SIGTERM, and an
    error in one of them, stop all between two steps.
    """
    count = max_parallel(len(trainings), device)
    if count == 1:
        return [training(None) for training in trainings]
    threads = torch.get_num_threads()

    def run(training: Callable[[StopSignal | None], T]) -> T:
        limit_threads(threads // count)
        return training(stop)

    with threads_unchanged(), randomness_unchanged(), StopSignal() as stop, ThreadPoolExecutor(count) as pool:
        try:
            futures = [pool.submit(run, training) for training in trainings]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            _raise_first(done)
            return [future.result() for future in futures]
        except BaseException:
            stop.requested = stop.requested or "another training failed"
            pool.shutdown(cancel_futures=True)
            raise


def _raise_first(done: set[Future[T]]) -> None:
    """Raise what went wrong; an error before a stop that may have followed from it."""
    errors = [error for future in done if (error := future.exception()) is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, KeyboardInterrupt)):
        raise error
