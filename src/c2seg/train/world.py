"""The device of this process and the other processes that torchrun started.

``torch.distributed`` and ``torch.autocast`` are used directly, without a wrapper around the network. Optimizer steps sum the
gradients, since losses are divided by totals over all processes (``methods.base``).
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed

from c2seg.errors import InputError
from c2seg.models import choose_device
from c2seg.process import processes

__all__ = ["World", "join_world"]

_DTYPES = {"bf16": torch.bfloat16, "16": torch.float16}


@dataclass(frozen=True)
class World:
    """Device and precision of a training, and the index ``rank`` (from 0) of this process among ``size``."""

    device: torch.device
    precision: str
    """``32``, ``bf16`` or ``16``."""
    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """True in the one process that writes."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait until all processes reach this point."""
        if self.size > 1:
            distributed.barrier()

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Enable mixed precision without the cache of cast weights.

        Parallel trainings share that cache, and each clears it after a forward pass. With it, the precision in which
        gradients of weights used twice are summed would depend on timing.
        """
        if self.precision == "32":
            yield
            return
        with torch.autocast(self.device.type, dtype=_DTYPES[self.precision], cache_enabled=False):
            yield


def join_world(device: str, precision: str) -> World:
    """Return the world of this process; the first call under torchrun connects the processes.

    Raises InputError for a device or precision that is not available.
    """
    kind = choose_device(device)
    if precision == "16" and kind.type == "cpu":
        raise InputError("precision 16 needs a CUDA device; use training.precision=bf16 or 32")
    if processes() == 1:
        return World(kind, precision)
    if kind.type == "cuda":
        kind = _cuda_device()
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if kind.type == "cuda" else "gloo")
        if kind.type == "cuda":  # NCCL warns about a group that was not destroyed
            atexit.register(distributed.destroy_process_group)
    return World(kind, precision, distributed.get_rank(), distributed.get_world_size())


def _cuda_device() -> torch.device:
    """Return the CUDA device of this process; every process of a machine has a different one."""
    index = int(os.environ.get("LOCAL_RANK", "0"))
    if index >= torch.cuda.device_count():
        raise InputError(f"process {index} of this machine has no CUDA device: start fewer processes, or use the CPU")
    torch.cuda.set_device(index)
    return torch.device("cuda", index)
