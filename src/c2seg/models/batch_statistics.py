"""Batch normalization with the statistics of all processes of a distributed training."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

__all__ = ["synchronize_batch_norm"]


def synchronize_batch_norm(model: nn.Module, device: torch.device) -> None:
    """Let the batch normalization of a network use the patches of all processes, in place; names of tensors do not change.

    On CUDA with torch's own layer, which takes no tensors of a CPU; there with sums over the processes (gloo).
    Call it in every process, once they are connected.
    """
    from timm.layers.norm_act import BatchNormAct2d, convert_sync_batchnorm

    if device.type == "cuda":
        convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return
    for layer in model.modules():
        if isinstance(layer, BatchNormAct2d):
            layer.__class__ = _act_layer(type(layer))
        elif isinstance(layer, nn.BatchNorm2d):
            layer.__class__ = _SharedBatchNorm


class _Total(torch.autograd.Function):
    """The sum over all processes; so is its gradient, since the losses of all processes depend on it."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return _summed(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _summed(gradient)


def _summed(value: Tensor) -> Tensor:
    value = value.detach().clone().contiguous()
    distributed.all_reduce(value)
    return value


def _total(value: Tensor) -> Tensor:
    return _Total.apply(value)  # type: ignore[no-any-return]


def _shared_norm(layer: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Return batch normalization of [B, C, H, W] over the batches of all processes, in the type of ``x``.

    A single value per channel over all processes has no variance: then the running statistics are used, as in ``PooledNorm``.
    """
    values = x.float()
    count = _summed(values.new_tensor(float(values.numel() // values.shape[1])))
    if count == 1:
        return F.batch_norm(x, layer.running_mean, layer.running_var, layer.weight, layer.bias, False, 0.0, layer.eps)
    shape = (1, -1, 1, 1)
    mean = _total(values.sum((0, 2, 3))) / count
    centered = values - mean.view(shape)
    variance = _total(centered.square().sum((0, 2, 3))) / count
    _update(layer, mean.detach(), variance.detach() * count / (count - 1))
    normalized = centered * torch.rsqrt(variance + layer.eps).view(shape)
    if layer.affine:
        normalized = normalized * layer.weight.view(shape) + layer.bias.view(shape)
    return normalized.to(x.dtype)


@torch.no_grad()
def _update(layer: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """Update the running statistics as torch does: with the unbiased variance."""
    if layer.running_mean is None or layer.running_var is None:
        return
    assert layer.num_batches_tracked is not None
    layer.num_batches_tracked.add_(1)
    momentum = 1.0 / float(layer.num_batches_tracked) if layer.momentum is None else layer.momentum
    layer.running_mean.lerp_(mean, momentum)
    layer.running_var.lerp_(variance, momentum)


class _SharedBatchNorm(nn.BatchNorm2d):
    """Batch normalization whose training statistics are those of all processes."""

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, C, H, W]."""
        return _shared_norm(self, x) if self.training else super().forward(x)


_ACT_LAYERS: dict[type, type] = {}


def _act_layer(kind: type) -> type:
    """Return a class of timm's normalization with activation that uses the statistics of all processes."""

    def forward(self: Any, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.drop(_shared_norm(self, x))) if self.training else kind.forward(self, x)  # type: ignore[attr-defined]
        return y

    if kind not in _ACT_LAYERS:
        _ACT_LAYERS[kind] = type(f"Shared{kind.__name__}", (kind,), {"forward": forward})
    return _ACT_LAYERS[kind]
