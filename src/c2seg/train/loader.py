"""Batches of training steps, prefetched by threads. Their number does not change the batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from c2seg.methods import Batch
from c2seg.sampling import PatchSampler, Sample
from c2seg.train.resampling import patches_of

__all__ = ["batches", "to_batch"]


def batches(
    sampler: PatchSampler, first: int, last: int, *, rank: int = 0, processes: int = 1, threads: int = 1
) -> Iterator[Sample]:
    """Yield the samples of steps ``first .. last-1`` in order.

    Process ``rank`` of ``processes`` loads every ``processes``-th draw of a step. Together they load what one would load.
    """

    def load(step: int) -> Sample:
        return sampler.load(sampler.draw(step)[rank::processes], resample=False)

    if threads < 1:
        yield from (load(step) for step in range(first, last))
        return
    pending: deque[Future[Sample]] = deque()
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


def to_batch(sample: Sample, device: torch.device) -> Batch:
    """Move a sample to a device, channels last in memory (faster convolutions); windows are resampled there."""
    patch = {
        name: torch.from_numpy(values).to(device, non_blocking=True, memory_format=torch.channels_last)
        for name, values in sample.patch.items()
    }
    if sample.windows is not None:
        patch = patches_of(patch, sample.windows)
    targets = None if sample.targets is None else torch.from_numpy(sample.targets).to(device, torch.int64)
    return Batch(patch, torch.from_numpy(sample.valid).to(device), targets)
