"""U-Net (Ronneberger, Fischer and Brox, MICCAI 2015) with padding and batch normalisation.

Axes: B batch, C channel, K class, H row, W column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import gcd

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from c2seg.recipes.schema import UNetModel

__all__ = ["UNet"]


class UNet(nn.Module):
    """Encoder and decoder of double 3 x 3 convolutions with skip connections; modalities are stacked at the input.

    ``widths`` are the channels by level, finest first; down by 2 x 2 max-pooling. ``decoder`` is ``concat``, the original (up
    by 2 x 2 transposed convolution, skip concatenated, two convolutions), or ``sum`` (up by nearest neighbour after a
    1 x 1 convolution, skip added, one convolution), which takes little more than half the time.
    """

    def __init__(
        self,
        bands: Mapping[str, int],
        num_classes: int,
        widths: Sequence[int],
        dropout: float = 0.0,
        norm: str = "batch",
        decoder: str = "concat",
    ) -> None:
        super().__init__()
        self.order = tuple(bands)
        self.feature_channels = widths[0]
        self.stride_px = 2 ** (len(widths) - 1)
        inputs = [sum(bands.values()), *widths[:-1]]
        self.encoder = nn.ModuleList(_double(i, o, norm) for i, o in zip(inputs, widths, strict=True))
        finer = list(pairwise(widths))[::-1]
        self.decoder_kind = decoder
        if decoder == "concat":
            self.up = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in finer)
            self.decoder = nn.ModuleList(_double(2 * fine, fine, norm) for fine, _ in finer)
        else:
            self.up = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in finer)
            self.decoder = nn.ModuleList(_layer(fine, fine, norm) for fine, _ in finer)
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout2d(dropout)
        self.head = nn.Conv2d(widths[0], num_classes, 1)

    @classmethod
    def build(cls, settings: UNetModel, bands: Mapping[str, int], num_classes: int) -> UNet:
        """Return the network of a recipe."""
        return cls(bands, num_classes, settings.widths, settings.dropout, settings.norm, settings.decoder)

    def forward(self, patch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``logits`` [B, K, H, W] and ``features`` [B, widths[0], H, W], the last maps before the head."""
        maps = torch.cat([patch[name] for name in self.order], dim=1)
        skips = []
        for level, block in enumerate(self.encoder):
            maps = block(self.pool(maps) if level else maps)
            skips.append(maps)
        maps = self.dropout(skips.pop())
        for up, block in zip(self.up, self.decoder, strict=True):
            if self.decoder_kind == "concat":
                maps = block(torch.cat([skips.pop(), up(maps)], dim=1))
            else:
                maps = block(skips.pop() + F.interpolate(up(maps), scale_factor=2, mode="nearest"))
        return {"logits": self.head(maps), "features": maps}


def _double(inputs: int, outputs: int, norm: str) -> nn.Sequential:
    return nn.Sequential(*_layer(inputs, outputs, norm), *_layer(outputs, outputs, norm))


def _layer(inputs: int, outputs: int, norm: str) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs) if norm == "batch" else nn.GroupNorm(gcd(8, outputs), outputs),
        nn.ReLU(inplace=True),
    )
