"""How many windows a device computes together: as many as its free memory holds, measured on one and two windows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

__all__ = ["Meter", "fitting_batch"]

_SHARE = 0.5  # of the free memory: sums, the next batch's inputs and the allocator's gaps need room too
_MOST = 64
_INPUT_BYTES = 512 * 2**20  # in the computer's own memory several batches wait


class Meter(Protocol):
    """Measures a device's memory."""

    def peak(self, call: Callable[[], object]) -> int:
        """Return the bytes that were in use at most during a call."""

    def free(self) -> int:
        """Return the bytes that a program can still take."""


class CudaMeter:
    """The memory of the current CUDA device."""

    def peak(self, call: Callable[[], object]) -> int:
        """Return the allocator's peak during a call."""
        import torch

        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        call()
        torch.cuda.synchronize()
        return int(torch.cuda.max_memory_allocated())

    def free(self) -> int:
        """Return what the driver has, and what the allocator holds without using it."""
        import torch

        free, _ = torch.cuda.mem_get_info()
        return int(free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated())


def fitting_batch(
    predictor: object, channels: Mapping[str, int], side_px: int, usual: int, meter: Meter | None = None
) -> int:
    """Return how many windows of ``side_px`` a predictor computes together: ``usual`` on the CPU.

    On a device a power of two, so that a little more or less free memory gives the same maps, at most 64.
    """
    space: Any = getattr(predictor, "on_device", None)
    if space is None:
        return usual
    meter = meter or CudaMeter()

    def call(count: int) -> Callable[[], object]:
        patch = {name: np.zeros((count, bands, side_px, side_px), np.float32) for name, bands in channels.items()}
        return lambda: space.predict(patch, np.ones((count, side_px, side_px), bool))

    meter.peak(call(1))  # buffers that stay are made now
    one, two = meter.peak(call(1)), meter.peak(call(2))
    by_memory = _SHARE * meter.free() / max(1, two - one)
    by_input = _INPUT_BYTES / (4 * side_px**2 * sum(channels.values()))
    most = max(1, int(min(_MOST, by_memory, by_input)))
    return 1 << (most.bit_length() - 1)
