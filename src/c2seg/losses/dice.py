"""Soft Dice loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from c2seg.losses.pixelwise import IGNORE_INDEX
from c2seg.recipes.training import DiceKind

__all__ = ["dice_loss"]

_EPS = 1e-5


def dice_loss(logits: Tensor, targets: Tensor, kind: DiceKind = "present", classes: int | None = None) -> Tensor:
    """Return a soft Dice loss, a scalar (Milletari et al., 3DV 2016); ``logits`` [B, K, H, W], ``targets`` int64 [B, H, W].

    With I = sum of p t and S = sum of p + sum of t over pixels, for every output:

    * ``present``: 1 - mean of 2 I / (S + eps) over the outputs that have a labeled pixel (not 255) in the batch; sums are
      over the labeled pixels of the batch. Outputs without one are left out. 0 if no pixel is labeled.
    * ``all``: the same over all outputs; the Dice of absent ones is 0 (third place of the challenge).
    * ``per_patch``: sum of 1 - 2 (I + eps) / (S + eps) over the first ``classes`` outputs (default: all), averaged over
      patches; sums are over every pixel of a patch (HighDAN, Hong et al., RSE 2023). Pixels without a label have t = 0 but
      count in p: no class should be predicted there. Since eps is inside the factor 2, an absent class of p near 0 gives -1.
    """
    labeled = (targets != IGNORE_INDEX)[:, None]
    probability = logits.float().softmax(dim=1)
    reference = F.one_hot(targets.where(labeled[:, 0], 0), logits.shape[1]).movedim(-1, 1) * labeled
    if kind == "per_patch":
        p, t = probability[:, :classes], reference[:, :classes]
        both = (p * t).sum((2, 3)) + _EPS
        dice = 2 * both / (p.sum((2, 3)) + t.sum((2, 3)) + _EPS)
        return (1 - dice).sum(dim=1).mean()
    axes = (0, 2, 3)
    probability = probability * labeled
    size = reference.sum(axes)
    dice = 2 * (probability * reference).sum(axes) / (probability.sum(axes) + size + _EPS)
    counted = size > 0 if kind == "present" else torch.ones_like(size, dtype=torch.bool)
    return torch.where(counted, 1 - dice, 0.0).sum() / counted.sum().clamp_min(1)
