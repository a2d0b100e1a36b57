"""Arrays that are used again."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np

__all__ = ["ArrayPool", "give_back"]

_MOST_SPARE = 8


@dataclass(frozen=True)
class ArrayPool:
    """Float32 arrays that are lent and used again: allocating many megabytes for every window costs time.

    A borrower owns its array and may give it back once, when no view of it is in use any more. An array that never comes
    back is freed as any other. Threads may share a pool.
    """

    _spare: list[np.ndarray] = field(default_factory=list, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def acquire(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return an array of a shape with any content."""
        with self._lock:
            self._spare[:] = [array for array in self._spare if array.shape == shape]
            if self._spare:
                return self._spare.pop()
        return np.empty(shape, np.float32)

    def release(self, array: np.ndarray) -> None:
        """Take an array back."""
        with self._lock:
            if len(self._spare) < _MOST_SPARE and all(array is not spare for spare in self._spare):
                self._spare.append(array)


def give_back(owner: object, array: np.ndarray) -> None:
    """Give an array back to who made it, if it takes arrays back (``release``)."""
    release = getattr(owner, "release", None)
    if release is not None:
        release(array)
