"""The network itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from c2seg_toy.network import ToyNetSettings


class ToyNet(nn.Module):
    """Two convolutions and a classifier."""

    stride_px = 1

    def __init__(self, settings: ToyNetSettings, bands: Mapping[str, int], num_classes: int) -> None:
        super().__init__()
        self.modalities = tuple(bands)
        self.feature_channels = settings.width
        self.layers = nn.Sequential(
            nn.Conv2d(sum(bands.values()), settings.width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(settings.width, settings.width, 3, padding=1),
            nn.ReLU(),
        )
        self.classifier = nn.Conv2d(settings.width, num_classes, 1)

    def forward(self, patch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return logits and features on the input's grid."""
        features = self.layers(torch.cat([patch[name] for name in self.modalities], dim=1))
        return {"logits": self.classifier(features), "features": features}
