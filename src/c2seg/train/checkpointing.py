"""Activation checkpointing: less memory for a training, at the cost of a second forward pass through each block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from c2seg.errors import InputError

__all__ = ["checkpoint_activations"]


def checkpoint_activations(model: nn.Module) -> int:
    """Let the blocks of a network forget their activations and compute them again in the backward pass; return their number.

    A block is an element of a list or a sequence of modules, with two convolutions or matrix products or more, and without
    blocks inside. Running statistics of batch normalization are updated once; dropout draws the same mask twice. Gradients
    are those without checkpointing. Do not copy the network afterwards. Raises InputError for a network without blocks.
    """
    blocks = list(_blocks(model))
    if not blocks:
        raise InputError(
            f"training.checkpoint_activations: the model {type(model).__name__} has no blocks; set it to false"
        )
    for block in blocks:
        _install(block)
    return len(blocks)


def _blocks(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the innermost blocks."""
    for module in model.children():
        inner = list(_blocks(module))
        if inner:
            yield from inner
        elif isinstance(model, nn.Sequential | nn.ModuleList) and _layers(module) >= 2:
            yield module


def _layers(module: nn.Module) -> int:
    return sum(isinstance(part, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) for part in module.modules())


def _install(block: nn.Module) -> None:
    plain = block.forward

    def contexts() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
        return nullcontext(), _statistics_unchanged(block)

    def forward(*args: Any, **kwargs: Any) -> Any:
        if not (block.training and torch.is_grad_enabled()):
            return plain(*args, **kwargs)
        return checkpoint(plain, *args, use_reentrant=False, context_fn=contexts, **kwargs)

    block.forward = forward


@contextmanager
def _statistics_unchanged(block: nn.Module) -> Iterator[None]:
    """Keep the running statistics of batch normalization while activations are computed a second time."""
    layers = [
        layer for layer in block.modules() if isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None
    ]
    before = [(layer.momentum, None if (n := layer.num_batches_tracked) is None else n.clone()) for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, (momentum, batches) in zip(layers, before, strict=True):
            layer.momentum = momentum
            if batches is not None and layer.num_batches_tracked is not None:
                layer.num_batches_tracked.copy_(batches)
