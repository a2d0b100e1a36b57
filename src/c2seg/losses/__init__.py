"""Losses, one per module, over logits [B, K, H, W] and targets int64 [B, H, W] with 255 = no label."""

from __future__ import annotations

from c2seg.losses.dice import dice_loss
from c2seg.losses.pixelwise import IGNORE_INDEX, cross_entropy, generalized_cross_entropy
from c2seg.losses.plugged import plugin_loss
from c2seg.losses.weighting import class_weights

__all__ = [
    "IGNORE_INDEX",
    "class_weights",
    "cross_entropy",
    "dice_loss",
    "generalized_cross_entropy",
    "plugin_loss",
]
