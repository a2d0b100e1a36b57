"""SegFormer (Xie et al., NeurIPS 2021) from segmentation-models-pytorch: a Mix Transformer and an all-MLP decoder."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from c2seg.errors import needs_extra
from c2seg.models.stacked import StackedNetwork
from c2seg.recipes.models import SegFormerModel

__all__ = ["SegFormer"]


class SegFormer(StackedNetwork):
    """Hierarchical transformer without positional encoding, and a decoder of linear layers at a quarter of the resolution."""

    def __init__(self, settings: SegFormerModel, bands: Mapping[str, int], num_classes: int) -> None:
        with needs_extra("SegFormer", "train"):
            import segmentation_models_pytorch as smp  # takes seconds, so only for this network

        net = smp.Segformer(
            settings.encoder,
            encoder_weights=None,
            decoder_segmentation_channels=settings.channels,
            in_channels=sum(bands.values()),
            classes=num_classes,
        )
        super().__init__(net, tuple(bands), settings.encoder, 32, settings.channels)
        self.dropout = nn.Dropout2d(settings.dropout)

    @classmethod
    def build(cls, settings: SegFormerModel, bands: Mapping[str, int], num_classes: int) -> SegFormer:
        """Return the network of a recipe."""
        return cls(settings, bands, num_classes)
