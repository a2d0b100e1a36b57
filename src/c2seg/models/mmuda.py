"""Generator of the challenge's second place: trunks on all modalities and on each one, one decoder, two classifiers.

Axes: B batch, C channel, K class, H row, W column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from c2seg.errors import InputError
from c2seg.models.hrnet import branch_channels, concatenated, high_resolution_trunk, resized
from c2seg.recipes.models import MMUDAModel

__all__ = ["MMUDA", "SHARED"]

SHARED = "shared"


class MMUDA(nn.Module):
    """Trunks ``trunks.shared`` (all modalities stacked) and ``trunks.<modality>``, summed scale by scale; decoder; classifiers.

    The auxiliary classifier reads the coarsest scale. Adapted from the challenge paper and its released code. The latter adds
    lists of feature maps, so that only its shared trunk has an effect; here the feature maps are added.
    """

    stride_px = 32

    def __init__(self, settings: MMUDAModel, bands: Mapping[str, int], num_classes: int) -> None:
        super().__init__()
        if SHARED in bands:
            raise InputError(f"a modality cannot be named {SHARED!r} for the model mmuda; rename it in city.yaml")
        self.order = tuple(bands)
        widths = branch_channels(settings)
        inputs = {SHARED: sum(bands.values()), **(bands if settings.specific else {})}
        self.trunks = nn.ModuleDict({name: high_resolution_trunk(settings, count) for name, count in inputs.items()})
        if settings.decoder == "fpn":
            self.feature_channels = settings.channels
            self.decoder: nn.Module = FeaturePyramid(widths, settings.channels)
            self.classifier: nn.Module = DilatedClassifier(settings.channels, num_classes)
        else:
            self.feature_channels = sum(widths)
            self.decoder = Concatenation()
            self.classifier = nn.Conv2d(sum(widths), num_classes, 1)
        self.aux_classifier = DilatedClassifier(widths[-1], num_classes)

    @classmethod
    def build(cls, settings: MMUDAModel, bands: Mapping[str, int], num_classes: int) -> MMUDA:
        """Return the network of a recipe."""
        return cls(settings, bands, num_classes)

    def forward(self, patch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``logits`` and ``aux`` [B, K, H, W], ``coarse`` [B, K, H/4, W/4] and ``features`` [B, C, H/4, W/4]."""
        inputs = torch.cat([patch[name] for name in self.order], dim=1)
        pyramids = [
            trunk.forward_features(inputs if name == SHARED else patch[name])  # type: ignore[operator]
            for name, trunk in self.trunks.items()
        ]
        pyramid = [torch.stack(scale).sum(dim=0) for scale in zip(*pyramids, strict=True)]
        features = self.decoder(pyramid)
        coarse = self.classifier(features)
        aux = resized(self.aux_classifier(pyramid[-1]), inputs)
        return {"logits": resized(coarse, inputs), "aux": aux, "coarse": coarse, "features": features}


class FeaturePyramid(nn.Module):
    """1 x 1 convolutions to ``channels``, then sums from the coarsest scale to the finest (Lin et al., CVPR 2017)."""

    def __init__(self, widths: Sequence[int], channels: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in widths)

    def forward(self, pyramid: Sequence[Tensor]) -> Tensor:
        """Return feature maps [B, channels, h, w] on the finest grid."""
        coarse_first = [lateral(maps) for lateral, maps in zip(self.laterals, pyramid, strict=True)][::-1]
        total: Tensor = coarse_first[0]
        for maps in coarse_first[1:]:
            total = maps + resized(total, maps)
        return total


class Concatenation(nn.Module):
    """All scales on the finest grid, one after the other."""

    def forward(self, pyramid: Sequence[Tensor]) -> Tensor:
        """Return feature maps [B, sum of the widths, h, w]."""
        return concatenated(pyramid)


class DilatedClassifier(nn.Module):
    """The sum of 3 x 3 convolutions of dilation 8, 4, 2 and 1, initialized from N(0, 0.01) (DeepLab-v2, as in ADVENT)."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.rates = nn.ModuleList(
            nn.Conv2d(channels, num_classes, 3, padding=rate, dilation=rate) for rate in (8, 4, 2, 1)
        )
        for convolution in self.rates:
            nn.init.normal_(convolution.weight, 0.0, 0.01)  # type: ignore[arg-type]

    def forward(self, maps: Tensor) -> Tensor:
        """Return logits [B, K, h, w]."""
        return torch.stack([convolution(maps) for convolution in self.rates]).sum(dim=0)
