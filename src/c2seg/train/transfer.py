"""How arrays reach the device of a training: as they are on a CPU, through pinned memory and a stream of copies on CUDA."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

__all__ = ["CudaStreams", "HostTransfer", "PinnedTransfer", "Streams", "Transfer", "transfer_to"]

_ALIGNMENT = 64  # bytes: every element type can be viewed at such an offset


class Transfer(Protocol):
    """Moves lists of arrays."""

    @property
    def ahead(self) -> int:
        """How many lists are on their way while the one before is computed on."""

    def stage(self, arrays: Sequence[np.ndarray]) -> Any:
        """Prepare arrays to be sent; called by threads of the loader."""

    def send(self, staged: Any) -> Any:
        """Begin to send; returns before the arrays have arrived."""

    def receive(self, sent: Any) -> list[Tensor]:
        """Return the tensors, for use by what the caller computes next."""


@dataclass(frozen=True)
class HostTransfer:
    """Arrays become tensors of the CPU, without a copy where that is possible, when they are asked for."""

    ahead: int = 0

    def stage(self, arrays: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """Return the arrays."""
        return arrays

    def send(self, staged: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """Return the arrays."""
        return staged

    def receive(self, sent: Sequence[np.ndarray]) -> list[Tensor]:
        """Return tensors of the arrays."""
        return [torch.from_numpy(np.ascontiguousarray(array)) for array in sent]


class Streams(Protocol):
    """A stream of copies beside that of computations."""

    def copying(self) -> AbstractContextManager[Any]:
        """Return a context whose device work goes to the stream of copies."""

    def mark(self) -> Any:
        """Return a mark behind what the stream of copies has been given so far."""

    def wait(self, mark: Any, tensor: Tensor) -> None:
        """Let computations that follow wait for a mark, and keep a tensor's memory until they are done."""


class CudaStreams:
    """Streams of a CUDA device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._copies = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def copying(self) -> AbstractContextManager[Any]:
        """Return the context of the stream of copies."""
        return torch.cuda.stream(self._copies)

    def mark(self) -> Any:
        """Return a recorded event."""
        return self._copies.record_event()

    def wait(self, mark: Any, tensor: Tensor) -> None:
        """Let the current stream wait; the allocator then knows that it uses the tensor."""
        current = torch.cuda.current_stream(self._device)
        current.wait_event(mark)
        tensor.record_stream(current)


@dataclass(frozen=True)
class _Place:
    """Where an array lies in a buffer of bytes."""

    first: int
    last: int
    dtype: torch.dtype
    shape: tuple[int, ...]


@dataclass(frozen=True)
class _Packed:
    """Arrays in one buffer of bytes, uint8 [N]: one copy moves them all."""

    buffer: Tensor
    places: tuple[_Place, ...]

    def tensors(self) -> list[Tensor]:
        return [self.buffer[p.first : p.last].view(p.dtype).view(p.shape) for p in self.places]


@dataclass(frozen=True)
class PinnedTransfer:
    """Arrays go packed into pinned memory, and from there to the device while it computes on the list before."""

    device: torch.device
    streams: Streams
    pin: bool = True
    ahead: int = field(default=1)

    def stage(self, arrays: Sequence[np.ndarray]) -> _Packed:
        """Copy arrays into one buffer."""
        places, end = [], 0
        for array in arrays:
            first = -(-end // _ALIGNMENT) * _ALIGNMENT
            end = first + array.nbytes
            places.append(_Place(first, end, torch.from_numpy(np.empty(0, array.dtype)).dtype, array.shape))
        buffer = torch.empty(end, dtype=torch.uint8, pin_memory=self.pin)
        packed = _Packed(buffer, tuple(places))
        memory = buffer.numpy()
        for array, place in zip(arrays, places, strict=True):
            memory[place.first : place.last].view(array.dtype).reshape(array.shape)[...] = array
        return packed

    def send(self, staged: _Packed) -> tuple[_Packed, Any]:
        """Begin the copy."""
        with self.streams.copying():
            buffer = staged.buffer.to(self.device, non_blocking=True)
            return _Packed(buffer, staged.places), self.streams.mark()

    def receive(self, sent: tuple[_Packed, Any]) -> list[Tensor]:
        """Return views of the buffer on the device."""
        packed, mark = sent
        self.streams.wait(mark, packed.buffer)
        return packed.tensors()


def transfer_to(device: torch.device) -> Transfer:
    """Return how arrays reach a device."""
    return PinnedTransfer(device, CudaStreams(device)) if device.type == "cuda" else HostTransfer()
