"""U-Net (Ronneberger, Fischer and Brox, MICCAI 2015) with padding and batch normalization.

Axes: B batch, C channel, K class, H row, W column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import gcd

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from c2seg.models.encoder_part import EncoderPart, Inputs
from c2seg.models.encoders import Levels, build_encoder
from c2seg.models.ukis import ENCODER as UKIS
from c2seg.models.ukis import UkisUNet
from c2seg.recipes.models import UNetModel

__all__ = ["UNet"]


class UNet(nn.Module):
    """Encoder and decoder of double 3 x 3 convolutions with skip connections; modalities are stacked at the input.

    ``widths`` are the channels by level, finest first; 2 x 2 max-pooling lies between levels. ``decoder="concat"`` is the
    original: 2 x 2 transposed convolution, concatenated skip, two convolutions. ``decoder="sum"`` has a 1 x 1 convolution,
    nearest-neighbor upsampling, added skip, one convolution. It takes little more than half the time.

    ``encoder`` names a network of timm or of another library (``c2seg.models.encoders``). Its first levels, projected to
    ``widths`` by 1 x 1 convolutions, are the decoder's skips. Its input is enlarged ``scale`` times; logits are interpolated
    bilinearly to the grid of the original input.
    """

    def __init__(
        self,
        bands: Mapping[str, int],
        num_classes: int,
        widths: Sequence[int],
        dropout: float = 0.0,
        norm: str = "batch",
        decoder: str = "concat",
        encoder: str | None = None,
        scale: int = 1,
        file_bands: Sequence[str | float] = (),
    ) -> None:
        super().__init__()
        self.file_bands = tuple(file_bands)
        self.order = tuple(bands)
        self.feature_channels = widths[0]
        count = sum(bands.values())
        self.scale, self.finest = scale, 1
        self.encoder: nn.Module
        if encoder is None:
            self.stride_px = 2 ** (len(widths) - 1)
            inputs = [count, *widths[:-1]]
            self.encoder = nn.ModuleList(_double(i, o, norm) for i, o in zip(inputs, widths, strict=True))
        else:
            built = build_encoder(encoder, count, len(widths))
            self.encoder_name, self.encoder, self.finest = built.name, built.module, built.finest
            self.stride_px = max(1, self.finest * 2 ** (len(widths) - 1) // scale)
            self.skips = nn.ModuleList(nn.Conv2d(i, o, 1) for i, o in zip(built.channels, widths, strict=True))
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
    def build(cls, settings: UNetModel, bands: Mapping[str, int], num_classes: int) -> nn.Module:
        """Return the network of a recipe; one that was trained as a whole U-Net brings its own decoder."""
        s = settings
        if s.encoder == UKIS:
            return UkisUNet(bands, num_classes, s.dropout, s.scale)
        return cls(bands, num_classes, s.widths, s.dropout, s.norm, s.decoder, s.encoder, s.scale, s.pretrained_bands)

    def encoder_parts(self, inputs: Inputs) -> dict[str, EncoderPart]:
        """Return what pretrained weights fill."""
        module = self.encoder.net if isinstance(self.encoder, Levels) else self.encoder
        return {"": EncoderPart(module, self.encoder_name, inputs, bands=self.file_bands)}

    def forward(self, patch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``logits`` [B, K, H, W] and ``features`` [B, widths[0], h, w], the last feature maps before the head.

        Without an encoder of timm, h, w are H, W.
        """
        skips = self._skips(torch.cat([patch[name] for name in self.order], dim=1))
        maps = self.dropout(skips.pop())
        for up, block in zip(self.up, self.decoder, strict=True):
            if self.decoder_kind == "concat":
                maps = block(torch.cat([skips.pop(), up(maps)], dim=1))
            else:
                maps = block(skips.pop() + F.interpolate(up(maps), scale_factor=2, mode="nearest"))
        logits = _enlarged(self.head(maps), self.finest / self.scale)
        return {"logits": logits, "features": maps}

    def _skips(self, maps: Tensor) -> list[Tensor]:
        """Return the encoder's feature maps, finest first."""
        if isinstance(self.encoder, nn.ModuleList):
            levels = []
            for level, block in enumerate(self.encoder):
                maps = block(self.pool(maps) if level else maps)
                levels.append(maps)
            return levels
        return [
            project(level) for project, level in zip(self.skips, self.encoder(_enlarged(maps, self.scale)), strict=True)
        ]


def _enlarged(maps: Tensor, factor: float) -> Tensor:
    if factor == 1:
        return maps
    return F.interpolate(maps, scale_factor=factor, mode="bilinear", align_corners=False)


def _double(inputs: int, outputs: int, norm: str) -> nn.Sequential:
    return nn.Sequential(*_layer(inputs, outputs, norm), *_layer(outputs, outputs, norm))


def _layer(inputs: int, outputs: int, norm: str) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs) if norm == "batch" else nn.GroupNorm(gcd(8, outputs), outputs),
        nn.ReLU(inplace=True),
    )
