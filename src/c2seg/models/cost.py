"""The cost of a network: its parameters and the arithmetic of one forward pass."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["model_cost"]


def model_cost(model: nn.Module, bands: Mapping[str, int], size_px: int = 128) -> tuple[int, float]:
    """Return the number of parameters and the GFLOPs of one forward pass over ``size_px`` x ``size_px``.

    A multiplication and an addition are two operations. Only convolutions and matrix products are counted. The size is
    rounded up to a multiple of the network's stride.
    """
    stride = int(getattr(model, "stride_px", 1))
    side = -(-size_px // stride) * stride
    device = next(model.parameters()).device
    patch = {name: torch.zeros(1, count, side, side, device=device) for name, count in bands.items()}
    training = model.training
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(patch)
    model.train(training)
    return sum(p.numel() for p in model.parameters()), counter.get_total_flops() / 1e9
