"""DeepLabv3+ (Chen et al., ECCV 2018) from segmentation-models-pytorch, with any encoder of that library or of timm.

Axes: B batch, C channel, K class, H row, W column.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from torch import nn

from c2seg.errors import InputError, needs_extra
from c2seg.models.pooled import PooledNorm
from c2seg.models.stacked import StackedNetwork
from c2seg.recipes.models import DeepLabV3PlusModel

__all__ = ["DeepLabV3Plus"]


class DeepLabV3Plus(StackedNetwork):
    """Dilated encoder, atrous spatial pyramid pooling, and a decoder at a quarter of the resolution.

    Departure: when training on one patch, the normalization after the image-level pooling uses its running statistics. A
    single value per channel has no variance.
    """

    def __init__(self, settings: DeepLabV3PlusModel, bands: Mapping[str, int], num_classes: int) -> None:
        with needs_extra("DeepLabv3+", "train"):
            import segmentation_models_pytorch as smp  # takes seconds, so only for this network

        name = _encoder_name(settings.encoder)
        try:
            net = smp.DeepLabV3Plus(
                name,
                encoder_weights=None,
                encoder_output_stride=settings.output_stride,
                decoder_channels=settings.channels,
                decoder_atrous_rates=settings.rates,
                decoder_aspp_dropout=settings.dropout,
                in_channels=sum(bands.values()),
                classes=num_classes,
                upsampling=4,
            )
        except (ValueError, RuntimeError, NotImplementedError, TypeError) as error:
            raise InputError(
                f"model.encoder {settings.encoder!r} cannot be dilated to output stride {settings.output_stride}: {error}; "
                "use a convolutional encoder such as resnet50 or tf_efficientnet_lite0"
            ) from error
        for last in ("_conv_head", "_bn1"):  # of EfficientNet's classifier, which is not used here
            if hasattr(net.encoder, last):
                setattr(net.encoder, last, nn.Identity())
        super().__init__(net, tuple(bands), name, settings.output_stride, settings.channels)
        pooling = net.decoder.aspp[0].convs[-1]
        pooling[2] = PooledNorm(settings.channels)

    @classmethod
    def build(cls, settings: DeepLabV3PlusModel, bands: Mapping[str, int], num_classes: int) -> DeepLabV3Plus:
        """Return the network of a recipe. Raises InputError for an encoder that does not exist or cannot be dilated."""
        return cls(settings, bands, num_classes)


def _encoder_name(name: str) -> str:
    """Return the name under which segmentation-models-pytorch builds an encoder; ``tu-`` marks one of timm."""
    import timm
    from segmentation_models_pytorch.encoders import get_encoder_names

    names = [known for known in get_encoder_names() if not known.startswith("timm-")]
    if name in names:
        return name
    if timm.is_model(name):
        return f"tu-{name}"
    similar = difflib.get_close_matches(name, [*names, *timm.list_models()], n=3)
    raise InputError(
        f"unknown encoder {name!r}. {'Did you mean ' + ' or '.join(similar) + '? ' if similar else ''}"
        "Valid: the encoders of segmentation-models-pytorch (resnet18, resnet50, resnet101, ...) and timm's models"
    )
