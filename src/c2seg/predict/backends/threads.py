"""Threads that predict one window each, for predictors on CPUs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np

from c2seg.data import Patch
from c2seg.predict.memory import ArrayPool

__all__ = ["WindowThreads"]


@dataclass(frozen=True)
class WindowThreads:
    """``count`` threads for the windows of batches: they do not wait for each other after every layer.

    A batch of fewer windows uses as many threads as windows; each has its part of ``count`` inside the layers. The threads
    stay, so that batches follow each other without a pause. ``limit`` sets, for the thread in which
    it is called, how many threads work inside layers; ``unchanged`` keeps the caller's own number while threads begin.
    """

    count: int
    limit: Callable[[int], None] | None = None
    unchanged: Callable[[], AbstractContextManager[None]] = nullcontext
    arrays: ArrayPool = field(default_factory=ArrayPool)
    """Of the scores that ``map`` returns, which are the caller's: who is done with them may give them back."""
    _pools: dict[int, ThreadPoolExecutor] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def together(self, windows: int) -> int:
        """Return how many of so many windows are predicted at once."""
        return min(self.count, windows)

    def map(self, function: Callable[[Patch, np.ndarray], None], patch: Patch, shape: tuple[int, ...]) -> np.ndarray:
        """Return float32 of a ``shape`` [B, ...]; the function fills one [1, ...] from a window [1, C, H, W] by modality."""
        scores = self.arrays.acquire(shape)

        def one(k: int) -> None:
            function({name: values[k : k + 1] for name, values in patch.items()}, scores[k : k + 1])

        for _ in self._pool(self.together(len(scores))).map(one, range(len(scores))):
            pass
        return scores

    def whole(self, function: Callable[[Patch, np.ndarray], None], patch: Patch, shape: tuple[int, ...]) -> np.ndarray:
        """Return as ``map``, but the function fills the batch at once, with all threads inside layers; calls wait in turn."""
        scores = self.arrays.acquire(shape)
        self._pool(1).submit(function, patch, scores).result()
        return scores

    def _pool(self, size: int) -> ThreadPoolExecutor:
        with self._lock:
            if size not in self._pools:
                with self.unchanged():
                    self._pools[size] = self._begin(size)
            return self._pools[size]

    def _begin(self, size: int) -> ThreadPoolExecutor:
        """Return started threads, with their thread limit set."""
        begun = threading.Barrier(size + 1)

        def begin() -> None:
            if self.limit is not None:
                self.limit(self.count // size)
            begun.wait()

        pool = ThreadPoolExecutor(size, initializer=begin)
        for _ in range(size):
            pool.submit(int)
        begun.wait()
        return pool
