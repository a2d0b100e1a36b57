"""Batches of training steps, prefetched by threads. Their number does not change the batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from c2seg.methods import Batch
from c2seg.sampling import PatchSampler, Sample
from c2seg.sampling.patches import Draw
from c2seg.sampling.raw import RawSample, load_raw
from c2seg.train.augmentation import DeviceAugmentation, raw_arrays
from c2seg.train.resampling import patches_of
from c2seg.train.transfer import HostTransfer, Transfer, transfer_to

__all__ = ["Feed", "batches", "to_batch"]

T = TypeVar("T")


def batches(
    sampler: PatchSampler, first: int, last: int, *, rank: int = 0, processes: int = 1, threads: int = 1
) -> Iterator[Sample]:
    """Yield the samples of steps ``first .. last-1`` in order.

    Process ``rank`` of ``processes`` loads every ``processes``-th draw of a step. Together they load what one would load.
    """

    def load(step: int) -> Sample:
        return sampler.load(sampler.draw(step)[rank::processes], resample=False)

    yield from _prefetched(load, first, last, threads)


def _prefetched(load: Callable[[int], T], first: int, last: int, threads: int) -> Iterator[T]:
    """Yield ``load(step)`` in order, computed ahead by threads; 0: when it is asked for."""
    if threads < 1:
        yield from (load(step) for step in range(first, last))
        return
    pending: deque[Future[T]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for step in range(first, last):
                pending.append(pool.submit(load, step))
                if len(pending) > 2 * threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


@dataclass(frozen=True)
class Feed:
    """Batches on a device, from the patches of a sampler.

    Threads load a step, and where the device has memory of its own copy it into pinned memory; it is on its way while the
    device computes the step before. ``augments``: patches travel raw and are normalized and augmented on the device.
    """

    sampler: PatchSampler
    device: torch.device
    augments: bool = False
    rank: int = 0
    processes: int = 1
    threads: int = 1
    transfer: Transfer | None = None
    """None: the usual one of the device."""

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """Yield the batches of steps ``first .. last-1`` in order."""
        transfer = self.transfer or transfer_to(self.device)
        fda = self.sampler.augment.fda
        augmentation = DeviceAugmentation(self.device, 0.0 if fda is None else fda.beta)
        sending: deque[tuple[Sample | RawSample, Any]] = deque()

        def received() -> Batch:
            sample, sent = sending.popleft()
            tensors = transfer.receive(sent)
            return (
                augmentation(sample, tensors) if isinstance(sample, RawSample) else _batch(sample, tensors, self.device)
            )

        for sample, staged, _ in self._staged(transfer, first, last):
            sending.append((sample, transfer.send(staged)))
            if len(sending) > transfer.ahead:
                yield received()
        while sending:
            yield received()

    def staged(self, first: int, last: int) -> Iterator[tuple[Any, int]]:
        """Yield what the loader's threads prepare for each step, and its bytes; nothing is sent to the device."""
        transfer = self.transfer or transfer_to(self.device)
        for _, staged, size in self._staged(transfer, first, last):
            yield staged, size

    def _staged(self, transfer: Transfer, first: int, last: int) -> Iterator[tuple[Sample | RawSample, Any, int]]:
        def load(step: int) -> tuple[Sample | RawSample, Any, int]:
            sample = self._load(self.sampler.draw(step)[self.rank :: self.processes])
            arrays = raw_arrays(sample) if isinstance(sample, RawSample) else _arrays(sample)
            return sample, transfer.stage(arrays), sum(array.nbytes for array in arrays)

        return _prefetched(load, first, last, self.threads)

    def _load(self, draws: list[Draw]) -> Sample | RawSample:
        return load_raw(self.sampler, draws) if self.augments else self.sampler.load(draws, resample=False)


def to_batch(sample: Sample, device: torch.device) -> Batch:
    """Move a sample to a device, channels last in memory (faster convolutions); windows are resampled there."""
    return _batch(sample, HostTransfer().receive(_arrays(sample)), device)


def _arrays(sample: Sample) -> list[np.ndarray]:
    """Return the arrays of a sample that travel."""
    return [
        *sample.patch.values(),
        sample.valid,
        *(() if sample.windows is None else (sample.windows.valid,)),
        *(() if sample.targets is None else (sample.targets,)),
    ]


def _batch(sample: Sample, arrays: list[Tensor], device: torch.device) -> Batch:
    """Return a batch of a sample and its arrays."""
    tensors = iter(arrays)
    patch = {
        name: next(tensors).to(device, non_blocking=True, memory_format=torch.channels_last) for name in sample.patch
    }
    valid = next(tensors).to(device)
    if sample.windows is not None:
        patch = patches_of(patch, next(tensors).to(device), sample.windows)
    targets = None if sample.targets is None else next(tensors).to(device, torch.int64)
    return Batch(patch, valid, targets)
