"""Discriminators that tell source from target, given maps of outputs or features."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from c2seg.errors import InputError

__all__ = ["FeatureDiscriminator", "PatchDiscriminator"]


class PatchDiscriminator(nn.Module):
    """Convolutions of 4 x 4, stride 2, with LeakyReLU 0.2 between, ending in one map of logits (Radford et al. 2016).

    Input [B, C, H, W], H and W at least ``2 ** (len(widths) + 1)``; output [B, 1, h, w], no final activation.
    """

    def __init__(self, channels: int, widths: Sequence[int] = (64, 128, 256, 512)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise([channels, *widths]):
            layers += [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, stride=2, padding=1))
        self.least_px = 2 ** (len(widths) + 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Return logits [B, 1, h, w]; InputError if the maps are too small."""
        if min(maps.shape[-2:]) < self.least_px:
            raise InputError(
                f"the discriminator needs maps of at least {self.least_px} px, got {tuple(maps.shape[-2:])}; use larger "
                "patches (training.sampling.patch_px) or fewer widths"
            )
        return self.layers(maps)  # type: ignore[no-any-return]


class FeatureDiscriminator(nn.Module):
    """Convolutions of 3 x 3 at full resolution that halve the channels three times, ending in one map of logits."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        steps = [max(1, channels // 2**i) for i in range(4)]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(steps):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(steps[-1], 1, 3, padding=1))

    def forward(self, maps: Tensor) -> Tensor:
        """Return logits [B, 1, H, W]."""
        return self.layers(maps)  # type: ignore[no-any-return]
