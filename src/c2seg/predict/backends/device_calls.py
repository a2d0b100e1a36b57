"""Calls of a network on a device with memory of its own: inputs of one batch arrive while another is computed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from c2seg.errors import InputError

__all__ = ["CudaWork", "DeviceCalls", "DeviceWork"]

Inputs = dict[str, Tensor]


class DeviceWork(Protocol):
    """Streams of a device, one for each thread that calls."""

    def stream(self) -> AbstractContextManager[Any]:
        """Return a context whose device work goes to the stream of the calling thread."""

    def upload(self, array: np.ndarray) -> Tensor:
        """Begin to copy an array to the device."""

    def finish(self, result: Tensor) -> None:
        """Wait for the work of the calling thread; its result may then be used by every thread."""


class CudaWork:
    """Streams of a CUDA device; uploads go through pinned memory."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._local = threading.local()

    def stream(self) -> AbstractContextManager[Any]:
        """Return the context of this thread's stream."""
        return torch.cuda.stream(self._of_thread())

    def upload(self, array: np.ndarray) -> Tensor:
        """Begin to copy; the allocator of pinned memory waits for it before the memory is used again."""
        return torch.from_numpy(np.ascontiguousarray(array)).pin_memory().to(self._device, non_blocking=True)

    def finish(self, result: Tensor) -> None:
        """Wait for this thread's stream; the result is used on the default stream from now on."""
        self._of_thread().synchronize()
        result.record_stream(torch.cuda.default_stream(self._device))

    def _of_thread(self) -> torch.cuda.Stream:
        if not hasattr(self._local, "stream"):
            self._local.stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        stream: torch.cuda.Stream = self._local.stream
        return stream


@dataclass(frozen=True)
class DeviceCalls:
    """Calls a network with batches of several threads: one batch is computed at a time, others are copied meanwhile.

    A batch that does not fit the device's memory is computed in halves.
    """

    work: DeviceWork
    _one: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __call__(self, compute: Callable[[Inputs], Tensor], patch: Mapping[str, np.ndarray]) -> Tensor:
        """Return ``compute`` of a patch [B, C, H, W] by modality. Raises InputError if not even one window fits."""
        with self.work.stream():
            inputs = {name: self.work.upload(values) for name, values in patch.items()}
            with self._one:
                result = _in_parts(compute, inputs)
                self.work.finish(result)
            return result


def _in_parts(compute: Callable[[Inputs], Tensor], inputs: Inputs) -> Tensor:
    try:
        return compute(inputs)
    except torch.OutOfMemoryError as error:
        values = next(iter(inputs.values()))
        if len(values) == 1:
            raise InputError(
                f"a window of {values.shape[-2]} x {values.shape[-1]} pixels does not fit the device's memory; give a smaller "
                "prediction.window_px in the recipe, or `device='cpu'`"
            ) from error
    torch.cuda.empty_cache()  # not in the handler, which holds the tensors of the failed call
    half = -(-len(values) // 2)
    parts = [{name: one[part] for name, one in inputs.items()} for part in (slice(half), slice(half, None))]
    return torch.cat([_in_parts(compute, part) for part in parts])
