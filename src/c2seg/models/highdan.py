"""HighDAN (Hong et al., Remote Sensing of Environment 299, 2023): one high-resolution trunk for all modalities.

Axes: B batch, C channel, K class, M modality, H row, W column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from c2seg.data import SceneReader, principal_components
from c2seg.errors import needs_extra
from c2seg.models.discriminator import FeatureDiscriminator
from c2seg.models.encoder_part import EncoderPart, Inputs
from c2seg.models.hrnet import branch_channels, concatenated, high_resolution_trunk, trunk_name
from c2seg.recipes.models import HighDANModel

__all__ = ["HighDAN", "Projection"]

_SPECTRUM = "hsi"
_STEM = 64


class HighDAN(nn.Module):
    """Stems to 1/2 and bottlenecks per modality, one shared trunk at 1/2 to 1/16, attention, convolutional head.

    With ``attention`` the network has a ``discriminator`` that tells source from target by the features. On the target, and
    in prediction, features f become f + |tanh(discriminator(f))| f. It must be trained as a discriminator.

    The modalities pass the trunk as one batch. So batch normalization has the same statistics in training and prediction.
    Departure: convolutions before batch normalization have no bias, which would have no effect.
    """

    stride_px = 16

    def __init__(self, settings: HighDANModel, bands: Mapping[str, int], num_classes: int) -> None:
        super().__init__()
        self.order = tuple(bands)
        self.encoder_name = trunk_name(settings)
        self.projections = nn.ModuleDict(
            {n: Projection(count, settings.max_bands) for n, count in bands.items() if count > settings.max_bands}
        )
        inputs = {name: min(count, settings.max_bands) for name, count in bands.items()}
        self.stems = nn.ModuleDict(
            {name: _stem(count, 2 if name == _SPECTRUM else 1) for name, count in inputs.items()}
        )
        self.layer1 = nn.ModuleDict({name: _bottlenecks(settings) for name in bands})
        self.trunk = _stages(settings)
        self.feature_channels = len(bands) * sum(branch_channels(settings))
        last = settings.head[-1]
        self.head = nn.Sequential(
            *(_convolution(i, o) for i, o in pairwise([self.feature_channels, *settings.head])),
            nn.ConvTranspose2d(last, last, 2, stride=2),
            nn.Conv2d(last, num_classes, 1),
        )
        for module in (*self.stems.modules(), *self.layer1.modules(), *self.head.modules()):
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d):
                module.momentum = settings.bn_momentum
        self.discriminator = FeatureDiscriminator(self.feature_channels) if settings.attention else None

    @classmethod
    def build(cls, settings: HighDANModel, bands: Mapping[str, int], num_classes: int) -> HighDAN:
        """Return the network of a recipe."""
        return cls(settings, bands, num_classes)

    def encoder_parts(self, inputs: Inputs) -> dict[str, EncoderPart]:
        """Return the parts that can be pretrained: the trunk and the bottlenecks of each modality."""
        parts = {"trunk": EncoderPart(self.trunk, self.encoder_name, {})}
        for name, layers in self.layer1.items():
            if not isinstance(layers, nn.Identity):
                parts[f"layer1.{name}"] = EncoderPart(layers, self.encoder_name, {})
        return parts

    def fit_inputs(self, readers: Sequence[SceneReader]) -> None:
        """Fit the projections on the normalized pixels of all source scenes together."""
        for name, projection in self.projections.items():
            assert isinstance(projection, Projection)
            projection.fit(readers, name)

    def forward(self, patch: Mapping[str, Tensor], domain: Literal["source", "target"] = "target") -> dict[str, Tensor]:
        """Return ``logits`` [B, K, H, W] and ``features`` [B, 15 M width, H/2, W/2] from before the attention."""
        stems = []
        for name in self.order:
            bands = self.projections[name](patch[name]) if name in self.projections else patch[name]
            stems.append(self.layer1[name](self.stems[name](bands)))
        pyramid = self.trunk.stages(torch.cat(stems))
        maps = concatenated(pyramid)  # of all modalities, stacked along the batch
        features = maps.reshape(len(stems), -1, *maps.shape[1:]).transpose(0, 1).flatten(1, 2)
        attended = features
        if self.discriminator is not None and domain == "target":
            attended = features + torch.tanh(self.discriminator(features)).abs() * features
        return {"logits": self.head(attended), "features": features}


class Projection(nn.Module):
    """A fixed projection of N bands on ``components`` axes, centered and scaled to unit variance; saved with the weights.

    Before ``fit`` it returns the first bands unchanged.
    """

    axes: Tensor
    offset: Tensor

    def __init__(self, bands: int, components: int) -> None:
        super().__init__()
        self.register_buffer("axes", torch.eye(components, bands))
        self.register_buffer("offset", torch.zeros(components))

    def fit(self, readers: Sequence[SceneReader], modality: str) -> None:
        """Set the axes to the principal components of a modality over scenes."""
        scenes = [(reader.scene, reader.normalizer) for reader in readers]
        components = principal_components(scenes, modality, len(self.axes))
        # An axis without variance holds only rounding errors: it gives 0, not noise of unit variance.
        scale = torch.tensor([1 / s if s > 1e-6 * components.std[0] else 0.0 for s in components.std.tolist()])
        axes = scale[:, None] * torch.from_numpy(components.axes)
        self.axes.copy_(axes)
        self.offset.copy_(-axes @ torch.from_numpy(components.mean))

    def forward(self, values: Tensor) -> Tensor:
        """Return components [B, components, H, W] of bands [B, N, H, W]."""
        return F.conv2d(values, self.axes[:, :, None, None], self.offset)


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _stem(bands: int, convolutions: int) -> nn.Sequential:
    rest = (_convolution(_STEM, _STEM) for _ in range(convolutions - 1))
    return nn.Sequential(_convolution(bands, _STEM, stride=2), *rest)


def _bottlenecks(settings: HighDANModel) -> nn.Module:
    """Return the first stage of a high-resolution network, with timm's tensor names."""
    if not settings.bottlenecks:
        return nn.Identity()
    with needs_extra("HighDAN", "train"):
        from timm.models.resnet import Bottleneck

    outputs = 4 * settings.bottleneck
    shortcut = nn.Sequential(nn.Conv2d(_STEM, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
    first = Bottleneck(_STEM, settings.bottleneck, downsample=shortcut)
    return nn.Sequential(first, *(Bottleneck(outputs, settings.bottleneck) for _ in range(settings.blocks[0] - 1)))


def _stages(settings: HighDANModel) -> Any:
    """Return a trunk that has only the transitions and stages 2 to 4; its ``stages`` runs them."""
    # Without bottlenecks the stems feed the trunk. It expects four times ``bottleneck`` channels.
    plan = settings if settings.bottlenecks else settings.model_copy(update={"bottleneck": _STEM // 4})
    trunk = high_resolution_trunk(plan, 1, bn_momentum=settings.bn_momentum)
    for name in ("conv1", "bn1", "act1", "conv2", "bn2", "act2", "layer1"):
        setattr(trunk, name, nn.Identity())
    return trunk
