"""The head of UPerNet (Xiao et al., ECCV 2018): pyramid pooling, feature pyramid, one fusion of all levels.

Axes: B batch, C channel, K class, H row, W column.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from c2seg.models.pooled import PooledNorm

__all__ = ["UPerHead"]

_BINS = (1, 2, 3, 6)


class UPerHead(nn.Module):
    """``channels``: by level, finest first; each level has half the resolution of the one before."""

    def __init__(self, channels: Sequence[int], width: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.pools = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(size), *_convolution(channels[-1], width, 1, pooled=size == 1))
            for size in _BINS
        )
        self.pyramid = _convolution(channels[-1] + len(_BINS) * width, width, 3)
        self.laterals = nn.ModuleList(_convolution(inputs, width, 1) for inputs in channels[:-1])
        self.smooth = nn.ModuleList(_convolution(width, width, 3) for _ in channels[:-1])
        self.fuse = _convolution(len(channels) * width, width, 3)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(width, num_classes, 1)

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return logits [B, K, h, w] and features [B, width, h, w] at the resolution of the finest level."""
        coarsest = levels[-1]
        pooled = [_resize(pool(coarsest), coarsest, align_corners=True) for pool in self.pools]
        maps = [self.pyramid(torch.cat([coarsest, *pooled], dim=1))]
        for lateral, level in zip(reversed(self.laterals), reversed(levels[:-1]), strict=True):
            values = lateral(level)
            maps.insert(0, values + _resize(maps[0], values))
        maps[:-1] = [smooth(values) for smooth, values in zip(self.smooth, maps[:-1], strict=True)]
        features = self.fuse(torch.cat([maps[0], *(_resize(values, maps[0]) for values in maps[1:])], dim=1))
        return self.classifier(self.dropout(features)), features


def _convolution(inputs: int, outputs: int, kernel: int, *, pooled: bool = False) -> nn.Sequential:
    norm = PooledNorm(outputs) if pooled else nn.BatchNorm2d(outputs)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False), norm, nn.ReLU(inplace=True)
    )


def _resize(values: Tensor, like: Tensor, *, align_corners: bool = False) -> Tensor:
    return F.interpolate(values, like.shape[-2:], mode="bilinear", align_corners=align_corners)
