"""Batch normalization with the statistics of the target city (AdaBN: Li et al., Pattern Recognition 80, 2018)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from c2seg.errors import InputError
from c2seg.recipes.training import Augmentation, Sampling
from c2seg.sampling import PatchSampler, TrainingScene
from c2seg.train.loader import batches, to_batch

__all__ = ["check_batch_norm", "renew_statistics", "target_patches"]

_BATCHES = 50


def check_batch_norm(model: nn.Module) -> None:
    """Raise InputError for a network without batch normalization."""
    if not _layers(model):
        raise InputError(
            f"training.adabn: the model {type(model).__name__} has no batch normalization; set it to false"
        )


def target_patches(
    target: Sequence[TrainingScene], sampling: Sampling, seed: int, device: torch.device
) -> Iterator[Mapping[str, Tensor]]:
    """Yield the patches of 50 batches, drawn uniformly over the target without augmentation: a function of the seed.

    Invalid pixels are 0, as in training. Every process draws all patches.
    """
    scenes = [replace(scene, targets=None) for scene in target]
    sampler = PatchSampler(scenes, sampling, Augmentation(flips=False, rotations=False), seed, 1, stream=2)
    for sample in batches(sampler, 0, _BATCHES):
        yield to_batch(sample, device).patch


def renew_statistics(
    model: nn.Module,
    patches: Iterable[Mapping[str, Tensor]],
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> None:
    """Replace running means and variances by averages over batches; leave the model in evaluation mode.

    Normalization layers use batch statistics, as in training. All else, such as dropout, is in evaluation mode. A layer
    that no batch reaches keeps its statistics.
    """
    layers = _layers(model)
    model.eval()
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.train()
        layer.momentum = None  # batches are weighted equally; the first one replaces the old statistics
        assert layer.num_batches_tracked is not None
        layer.num_batches_tracked.zero_()
    with torch.no_grad(), autocast():
        for patch in patches:
            model(patch)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    model.eval()


def _layers(model: nn.Module) -> list[nn.BatchNorm2d]:
    layers = (module for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    return [layer for layer in layers if layer.running_mean is not None]
