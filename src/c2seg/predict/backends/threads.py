"""Threads that map a window each, for predictors on processors."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from c2seg.data import Patch
from c2seg.predict.memory import keep_freed_memory

__all__ = ["WindowThreads"]

_HELD = [np.empty(0)]
_UNUSED = sys.getrefcount(_HELD[0])  # of an array that a list holds and nothing else, no transform either


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
    _arrays: list[np.ndarray] = field(default_factory=list, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def together(self, windows: int) -> int:
        """Return how many of so many windows are mapped at once."""
        return min(self.count, windows)

    def map(self, function: Callable[[Patch, np.ndarray], None], patch: Patch, shape: tuple[int, ...]) -> np.ndarray:
        """Return float32 of a ``shape`` [B, ...]; the function fills one [1, ...] from a window [1, C, H, W] by modality."""
        scores = self._array(shape)

        def one(k: int) -> None:
            function({name: values[k : k + 1] for name, values in patch.items()}, scores[k : k + 1])

        for _ in self._pool(self.together(len(scores))).map(one, range(len(scores))):
            pass
        return scores

    def _array(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return an array that nobody looks at any more, or a new one: others of many megabytes would tear the heap."""
        with self._lock:
            self._arrays[:] = [array for array in self._arrays if array.shape == shape]
            for k in range(len(self._arrays)):
                if sys.getrefcount(self._arrays[k]) == _UNUSED:
                    return self._arrays[k]
            self._arrays.append(np.empty(shape, np.float32))
            return self._arrays[-1]

    def _pool(self, size: int) -> ThreadPoolExecutor:
        with self._lock:
            if size not in self._pools:
                keep_freed_memory()  # a thread that began before would go on with a heap of its own
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
