"""Threads that map a window each, for predictors on processors."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from c2seg.data import Patch

__all__ = ["WindowThreads"]


@dataclass(frozen=True)
class WindowThreads:
    """``count`` threads for the windows of batches: they need not wait for each other after every layer.

    Of a batch of fewer windows so many threads work, each with its share of ``count`` inside the layers. They stay, so that
    several batches that are asked for at once follow each other without a pause. ``limit`` sets, for the thread in which
    it is called and those that begin later, how many threads work inside layers.
    """

    count: int
    limit: Callable[[int], None] | None = None
    _pools: dict[int, ThreadPoolExecutor] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def together(self, windows: int) -> int:
        """Return how many of so many windows are mapped at once."""
        return min(self.count, windows)

    def map(self, function: Callable[[Patch], np.ndarray], patch: Patch) -> np.ndarray:
        """Return float32 [B, ...] of a function that takes batches of one window [1, C, H, W] by modality."""
        windows = len(next(iter(patch.values())))
        each = ({name: values[k : k + 1] for name, values in patch.items()} for k in range(windows))
        found = list(self._pool(self.together(windows)).map(function, each))
        return found[0] if windows == 1 else np.concatenate(found)

    def _pool(self, size: int) -> ThreadPoolExecutor:
        with self._lock:
            if size not in self._pools:
                begun = threading.Barrier(size + 1)

                def begin() -> None:
                    if self.limit is not None:
                        self.limit(self.count // size)
                    begun.wait()

                pool = ThreadPoolExecutor(size, initializer=begin)
                for _ in range(size):
                    pool.submit(int)
                begun.wait()
                if self.limit is not None:
                    self.limit(self.count)  # of threads that begin later
                self._pools[size] = pool
            return self._pools[size]
