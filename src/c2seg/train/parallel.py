"""Parallel training of several networks on a CPU.

A small network gains little from a second thread inside its layers. Another network uses that thread better.
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
    """Return how many trainings run in parallel: on a CPU, one per thread; else one."""
    alone = choose_device(device).type != "cpu" or processes() != 1
    return 1 if alone else max(1, min(trainings, torch.get_num_threads()))


def train_in_parallel(trainings: Sequence[Callable[[StopSignal | None], T]], device: str) -> list[T]:
    """Return the results of the trainings, in order; ``max_parallel`` of them run in parallel and divide the threads.

    Results are bit-identical to those of single trainings with the same number of threads. Each training is given the stop
    signal. SIGINT, SIGTERM and an error in one training stop all of them between two steps.
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
    """Raise the first failure; an error has precedence over a stop that it may have caused."""
    errors = [error for future in done if (error := future.exception()) is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, KeyboardInterrupt)):
        raise error
