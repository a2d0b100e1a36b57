"""Losses that are sums over pixels: cross-entropy and generalized cross-entropy.

Both return the sum over labeled pixels and the sum of their weights. Processes divide by the total over all of them, so
that several processes give the gradient of one.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["IGNORE_INDEX", "cross_entropy", "generalized_cross_entropy"]

IGNORE_INDEX = 255


def cross_entropy(
    logits: Tensor, targets: Tensor, weights: Tensor | None = None, label_smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return (sum of weighted cross-entropy, sum of weights), scalars float32.

    ``logits`` [B, K, H, W]; ``targets`` int64 [B, H, W], 255 = no label; ``weights`` float32 [K] or None (all 1).
    Label smoothing eps makes the target (1 - eps) one-hot + eps / K (Szegedy et al., CVPR 2016). Both are 0 without labeled
    pixels.
    """
    total = F.cross_entropy(
        logits.float(),
        targets,
        weights,
        ignore_index=IGNORE_INDEX,
        reduction="sum",
        label_smoothing=label_smoothing,
    )
    return total, _weight_sum(targets, weights)


def generalized_cross_entropy(
    logits: Tensor, targets: Tensor, weights: Tensor | None = None, q: float = 0.7
) -> tuple[Tensor, Tensor]:
    """Return (sum of weighted (1 - p^q) / q, sum of weights) for p of the labeled class (Zhang and Sabuncu, NeurIPS 2018).

    Shapes as in ``cross_entropy``; 0 < q <= 1. The limit q = 0 is cross-entropy. q = 1 is 1 - p, half the absolute error: it
    is most robust to wrong labels and slowest to train.
    """
    nll = F.cross_entropy(logits.float(), targets, ignore_index=IGNORE_INDEX, reduction="none")
    # Computed from log p: a p that underflows has no gradient, and 1 - p^q loses digits for small q.
    value = -torch.expm1(-q * nll) / q
    return _weighted(value, targets, weights).sum(), _weight_sum(targets, weights)


def _weighted(values: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Return values [B, H, W] times the weights of their classes, 0 where there is no label."""
    if weights is not None:
        values = values * weights[targets.clamp_max(weights.numel() - 1)]
    return values * (targets != IGNORE_INDEX)


def _weight_sum(targets: Tensor, weights: Tensor | None) -> Tensor:
    labeled = targets[targets != IGNORE_INDEX]
    if weights is None:
        return labeled.new_tensor(labeled.numel(), dtype=torch.float32)
    return weights[labeled].sum()
