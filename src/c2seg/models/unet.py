"""U-Net (Ronneberger, Fischer and Brox, MICCAI 2015) with padding and batch normalization.

Axes: B batch, C channel, K class, H row, W column.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from c2seg.errors import InputError, needs_extra
from c2seg.recipes.models import UNetModel

__all__ = ["UNet"]


class UNet(nn.Module):
    """Encoder and decoder of double 3 x 3 convolutions with skip connections; modalities are stacked at the input.

    ``widths`` are the channels by level, finest first; down by 2 x 2 max-pooling. ``decoder`` is ``concat``, the original (up
    by 2 x 2 transposed convolution, skip concatenated, two convolutions), or ``sum`` (up by nearest neighbor after a
    1 x 1 convolution, skip added, one convolution), which takes little more than half the time.

    ``encoder`` names a network of timm: its first levels, brought to the widths by 1 x 1 convolutions, are the skips of the
    same decoder. It sees the input enlarged ``scale`` times; logits are brought to the input's grid bilinearly.
    """

    def __init__(
        self,
        bands: Mapping[str, int],
        num_classes: int,
        widths: Sequence[int],
        dropout: float = 0.0,
        decoder: str = "concat",
        encoder: str | None = None,
        scale: int = 1,
    ) -> None:
        super().__init__()
        self.order = tuple(bands)
        self.feature_channels = widths[0]
        count = sum(bands.values())
        self.scale, self.finest = scale, 1
        self.encoder: nn.Module
        if encoder is None:
            self.stride_px = 2 ** (len(widths) - 1)
            inputs = [count, *widths[:-1]]
            self.encoder = nn.ModuleList(_double(i, o) for i, o in zip(inputs, widths, strict=True))
        else:
            self.encoder_name = f"timm/{encoder}"
            self.encoder, channels, self.finest = _timm_encoder(encoder, count, len(widths))
            self.stride_px = max(1, self.finest * 2 ** (len(widths) - 1) // scale)
            self.skips = nn.ModuleList(nn.Conv2d(i, o, 1) for i, o in zip(channels, widths, strict=True))
        finer = list(pairwise(widths))[::-1]
        self.decoder_kind = decoder
        if decoder == "concat":
            self.up = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in finer)
            self.decoder = nn.ModuleList(_double(2 * fine, fine) for fine, _ in finer)
        else:
            self.up = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in finer)
            self.decoder = nn.ModuleList(_layer(fine, fine) for fine, _ in finer)
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout2d(dropout)
        self.head = nn.Conv2d(widths[0], num_classes, 1)

    @classmethod
    def build(cls, settings: UNetModel, bands: Mapping[str, int], num_classes: int) -> UNet:
        """Return the network of a recipe."""
        s = settings
        return cls(bands, num_classes, s.widths, s.dropout, s.decoder, s.encoder, s.scale)

    def forward(self, patch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``logits`` [B, K, H, W] and ``features`` [B, widths[0], h, w], the last maps before the head: h, w are H, W
        without an encoder of timm.
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
        """Return the encoder's maps, finest first."""
        if isinstance(self.encoder, nn.ModuleList):
            found = []
            for level, block in enumerate(self.encoder):
                maps = block(self.pool(maps) if level else maps)
                found.append(maps)
            return found
        return [fit(each) for fit, each in zip(self.skips, self.encoder(_enlarged(maps, self.scale)), strict=True)]


def _timm_encoder(name: str, bands: int, levels: int) -> tuple[nn.Module, list[int], int]:
    """Return the first levels of a network of timm, their channels, and the input's pixels in one of the finest.

    Raises InputError for a network that does not exist or whose levels do not halve the resolution each.
    """
    with needs_extra("U-Net on an encoder of timm", "train"):
        import timm

    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models()) or ["tf_efficientnet_lite0"]
        raise InputError(f"model.encoder: timm has no network {name!r}; near or well known ones: {', '.join(near)}")
    advice = "take a convolutional one such as tf_efficientnet_lite0"
    try:
        # "getter" leaves out the layers behind the last level that is wanted.
        options: dict[str, Any] = {"in_chans": bands, "out_indices": tuple(range(levels))}
        encoder = timm.create_model(name, pretrained=False, features_only=True, feature_cls="getter", **options)
        found: Any = encoder.feature_info
    except (AssertionError, AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"model.encoder {name!r} has no {levels} levels: {error}; {advice}, or fewer widths"
        ) from error
    sizes = found.reduction()
    if sizes != [sizes[0] * 2**level for level in range(levels)]:
        raise InputError(f"model.encoder {name!r}: its levels reduce by {sizes}, not by half each; {advice}")
    return encoder, found.channels(), sizes[0]


def _enlarged(maps: Tensor, factor: float) -> Tensor:
    if factor == 1:
        return maps
    return F.interpolate(maps, scale_factor=factor, mode="bilinear", align_corners=False)


def _double(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(*_layer(inputs, outputs), *_layer(outputs, outputs))


def _layer(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
