"""Soft Dice loss over a batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from c2seg.losses.pixelwise import IGNORE_INDEX

__all__ = ["dice_loss"]


def dice_loss(logits: Tensor, targets: Tensor, eps: float = 1e-5) -> Tensor:
    """Return 1 - mean over the classes present of 2 I / (sum p + sum t + eps), a scalar (Milletari et al., 3DV 2016).

    ``logits`` [B, K, H, W]; ``targets`` int64 [B, H, W]. Only labelled pixels (not 255) count. Classes without a labelled
    pixel in the batch are left out: their Dice says nothing. 0 if no pixel is labelled.
    """
    labelled = targets != IGNORE_INDEX
    classes = logits.shape[1]
    probability = logits.float().softmax(dim=1) * labelled[:, None]
    one_hot = F.one_hot(targets.where(labelled, 0), classes).movedim(-1, 1) * labelled[:, None]
    axes = (0, 2, 3)
    intersection = (probability * one_hot).sum(axes)
    truth = one_hot.sum(axes)
    dice = 2 * intersection / (probability.sum(axes) + truth + eps)
    present = truth > 0
    return torch.where(present, 1 - dice, 0.0).sum() / present.sum().clamp_min(1)
