"""High-resolution networks: timm's trunk and Seg-HRNet (Wang et al., TPAMI 2020), a model of the challenge's second place.

Axes: B batch, C channel, K class, H row, W column. The four branches have 1, 2, 4 and 8 times ``width`` channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from c2seg.errors import needs_extra
from c2seg.recipes.models import HRNetModel, HRNetTrunk

__all__ = ["SCALES", "SegHRNet", "branch_channels", "concatenated", "high_resolution_trunk", "resized", "trunk_name"]

SCALES = 4


def branch_channels(settings: HRNetTrunk) -> list[int]:
    """Return the channels of the branches, finest first."""
    return [settings.width * 2**scale for scale in range(SCALES)]


def trunk_name(settings: HRNetTrunk) -> str:
    """Return the name under which segmentation-models-pytorch has ImageNet weights of a trunk of this width."""
    return f"tu-hrnet_w{settings.width}"


def high_resolution_trunk(settings: HRNetTrunk, bands: int, *, bn_momentum: float = 0.1) -> Any:
    """Return timm's trunk up to stage 4; ``forward_features`` returns four feature maps, at 1/4 to 1/32.

    It has two stride-2 convolutions to 64 channels, bottlenecks, and three stages that exchange between resolutions. Tensor
    names are timm's. Departure from timm (nearest): upsampling between branches is bilinear with aligned corners, as in the
    authors' segmentation networks.
    """
    with needs_extra("HRNet", "train"):
        from timm.models.hrnet import HighResolutionNet

    widths = branch_channels(settings)

    def stage(branches: int) -> dict[str, Any]:
        return {
            "num_modules": settings.modules[branches - 2],
            "num_branches": branches,
            "block_type": "BASIC",
            "num_blocks": (settings.blocks[branches - 1],) * branches,
            "num_channels": tuple(widths[:branches]),
            "fuse_method": "SUM",
        }

    first = {
        "num_modules": 1,
        "num_branches": 1,
        "block_type": "BOTTLENECK",
        "num_blocks": (settings.blocks[0],),
        "num_channels": (settings.bottleneck,),
        "fuse_method": "SUM",
    }
    plan = {"stem_width": 64, "stage1": first, "stage2": stage(2), "stage3": stage(3), "stage4": stage(4)}
    trunk = HighResolutionNet(plan, in_chans=bands, head="")
    for module in trunk.modules():
        if isinstance(module, nn.Upsample):
            module.mode, module.align_corners = "bilinear", True
        elif isinstance(module, nn.BatchNorm2d):
            module.momentum = bn_momentum
    return trunk


def resized(maps: Tensor, like: Tensor) -> Tensor:
    """Return feature maps on the grid of ``like``, bilinear with aligned corners."""
    if maps.shape[-2:] == like.shape[-2:]:
        return maps
    return F.interpolate(maps, like.shape[-2:], mode="bilinear", align_corners=True)


def concatenated(pyramid: Sequence[Tensor]) -> Tensor:
    """Return the branches on the grid of the finest, one after the other: [B, 15 width, h, w]."""
    return torch.cat([resized(maps, pyramid[0]) for maps in pyramid], dim=1)


class SegHRNet(nn.Module):
    """Trunk on the stacked modalities. Its branches are concatenated at 1/4, projected by 1 x 1, normalized and classified.

    Departure: the projection convolution has no bias, which would have no effect before batch normalization.
    """

    stride_px = 32

    def __init__(self, settings: HRNetModel, bands: Mapping[str, int], num_classes: int) -> None:
        super().__init__()
        self.order = tuple(bands)
        self.encoder_name = trunk_name(settings)
        self.feature_channels = sum(branch_channels(settings))
        self.trunk = high_resolution_trunk(settings, sum(bands.values()))
        self.mix = nn.Sequential(
            nn.Conv2d(self.feature_channels, self.feature_channels, 1, bias=False),
            nn.BatchNorm2d(self.feature_channels),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Conv2d(self.feature_channels, num_classes, 1)

    @classmethod
    def build(cls, settings: HRNetModel, bands: Mapping[str, int], num_classes: int) -> SegHRNet:
        """Return the network of a recipe."""
        return cls(settings, bands, num_classes)

    @property
    def encoder(self) -> nn.Module:
        """The part that can be pretrained."""
        trunk: nn.Module = self.trunk
        return trunk

    def forward(self, patch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``logits`` [B, K, H, W], ``coarse`` [B, K, H/4, W/4], and ``features`` [B, 15 width, H/4, W/4]."""
        inputs = torch.cat([patch[name] for name in self.order], dim=1)
        features = self.mix(concatenated(self.trunk.forward_features(inputs)))
        coarse = self.head(features)
        return {"logits": resized(coarse, inputs), "coarse": coarse, "features": features}
