"""Encoder-decoders of segmentation-models-pytorch on modalities stacked at the input.

Axes: B batch, C channel, K class, H row, W column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

__all__ = ["StackedNetwork"]


class StackedNetwork(nn.Module):
    """A network ``net`` with encoder, decoder at a quarter of the resolution, and head at full resolution."""

    def __init__(
        self, net: nn.Module, modalities: Sequence[str], encoder_name: str, stride_px: int, feature_channels: int
    ) -> None:
        super().__init__()
        self.net = net
        self.order = tuple(modalities)
        self.encoder_name = encoder_name
        self.stride_px = stride_px
        self.feature_channels = feature_channels
        self.dropout: nn.Module = nn.Identity()

    @property
    def encoder(self) -> nn.Module:
        """The part that can be pretrained."""
        encoder = self.net.encoder
        assert isinstance(encoder, nn.Module)
        return encoder

    def forward(self, patch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``logits`` [B, K, H, W] and ``features`` [B, C, H/4, W/4], the last feature maps before the classifier."""
        maps = torch.cat([patch[name] for name in self.order], dim=1)
        features = self.net.decoder(self.net.encoder(maps))  # type: ignore[operator]
        return {"logits": self.net.segmentation_head(self.dropout(features)), "features": features}  # type: ignore[operator]
