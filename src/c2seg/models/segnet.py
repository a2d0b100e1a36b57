"""SegNet (Badrinarayanan, Kendall and Cipolla, TPAMI 2017): VGG16 with batch normalization, and its mirror image.

Axes: B batch, C channel, K class, H row, W column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from c2seg.recipes.models import SegNetModel

__all__ = ["SegNet"]

# VGG16 (Simonyan and Zisserman 2015, configuration D): channels of the convolutions of each stage, at width 1.
_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class SegNet(nn.Module):
    """13 convolutions down and 13 up; each of the five unpoolings uses the indices of its max-pooling.

    The encoder's layers are numbered as in VGG16-BN, so that its weights can be loaded. Initialization: He et al. 2015, as
    in the paper. Departures: convolutions before batch normalization have no bias (it would have no effect), and ``width``
    scales the channels of all layers.
    """

    stride_px = 2 ** len(_STAGES)
    encoder_name = "vgg16_bn"

    def __init__(self, bands: Mapping[str, int], num_classes: int, width: float = 1.0) -> None:
        super().__init__()
        self.order = tuple(bands)
        chains = []
        last = sum(bands.values())
        for stage in _STAGES:
            chains.append([last, *(max(8, round(width * channels)) for channels in stage)])
            last = chains[-1][-1]
        layers: list[nn.Module] = []
        for chain in chains:
            layers += [*_convolutions(chain), nn.MaxPool2d(2, return_indices=True)]
        self.encoder = nn.Sequential(*layers)
        chains[0] = chains[0][1:]  # the mirror image of the first convolution is the classifier
        self.decoder = nn.ModuleList(nn.Sequential(*_convolutions(chain[::-1])) for chain in reversed(chains))
        self.feature_channels = chains[0][0]
        self.head = nn.Conv2d(chains[0][0], num_classes, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    @classmethod
    def build(cls, settings: SegNetModel, bands: Mapping[str, int], num_classes: int) -> SegNet:
        """Return the network of a recipe."""
        return cls(bands, num_classes, settings.width)

    def forward(self, patch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``logits`` [B, K, H, W] and ``features`` [B, C, H, W], the last feature maps before the classifier."""
        maps = torch.cat([patch[name] for name in self.order], dim=1)
        pool_indices = []
        for layer in self.encoder:
            if isinstance(layer, nn.MaxPool2d):
                maps, indices = layer(maps)
                pool_indices.append(indices)
            else:
                maps = layer(maps)
        for stage in self.decoder:
            maps = stage(F.max_unpool2d(maps, pool_indices.pop(), (2, 2)))
        return {"logits": self.head(maps), "features": maps}

    @staticmethod
    def encoder_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Fold biases of VGG16-BN's convolutions into the running means of the next normalizations (exact)."""
        folded = dict(state)
        for name, mean in state.items():
            before, dot, last = name.rpartition(".")
            prefix, inner, number = before.rpartition(".")
            if dot and last == "running_mean" and number.isdigit():
                bias = folded.pop(f"{prefix}{inner}{int(number) - 1}.bias", None)
                if bias is not None:
                    folded[name] = mean - bias
        return folded


def _convolutions(channels: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(channels):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return layers
