"""Segmentation with the encoder of Galileo: its tokens, enlarged, and a light decoder at full resolution.

Axes: B batch, C channel, K class, H row, W column.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from c2seg.data.physical_layers import LAYERS, OPTICAL, RADAR
from c2seg.errors import InputError
from c2seg.models.encoder_part import EncoderPart, Inputs
from c2seg.models.galileo_encoder import CHANNELS, GROUPS, GalileoEncoder, standardized
from c2seg.recipes.models import GalileoModel

__all__ = ["Galileo"]

NAME = "galileo-nano"
_WEIGHTS = Path(__file__).with_name("weights") / f"{NAME}.safetensors"
"""The published weights for Sentinel-1 and Sentinel-2 (MIT; the license lies beside them)."""


class Galileo(nn.Module):
    """Tokens are averaged over the groups of bands that are present, enlarged, and joined with convolutions on all bands.

    A group whose bands are all 0 in a token's patch is missing: the encoder masks it, as in its pretraining. So it is for
    bands that a city has not, for invalid pixels, and for a modality that was left out. The input is cut into squares of
    ``grid`` x ``grid`` tokens, the most that pretraining saw.
    """

    def __init__(self, settings: GalileoModel, bands: Mapping[str, int], num_classes: int) -> None:
        super().__init__()
        self.layers = tuple(name for name in (RADAR, OPTICAL) if name in bands)
        if not self.layers or any(bands[name] != len(LAYERS[name]) for name in self.layers):
            raise InputError(
                f"galileo needs the modality {OPTICAL} or {RADAR}: optical bands or radar of known units; `c2seg inspect` "
                "tells the bands"
            )
        self.settings = settings
        self.stride_px = settings.token_px * settings.grid
        self.feature_channels = width = settings.channels
        self.encoder = GalileoEncoder(token_px=settings.token_px)
        self.encoder_name = NAME
        self.others = tuple(name for name in bands if name not in self.layers)
        fine = len(CHANNELS) + sum(bands[name] for name in self.others)
        self.fine = nn.Sequential(*_layer(fine, width), *_layer(width, width))
        self.coarse = nn.Conv2d(self.encoder.size, width, 1)
        self.joined = nn.Sequential(*_layer(2 * width, width))
        self.dropout = nn.Dropout2d(settings.dropout)
        self.head = nn.Conv2d(width, num_classes, 1)

    @classmethod
    def build(cls, settings: GalileoModel, bands: Mapping[str, int], num_classes: int) -> Galileo:
        """Return the network of a recipe."""
        return cls(settings, bands, num_classes)

    def forward(self, patch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``logits`` [B, K, H, W] and ``features`` [B, channels, H, W], the last feature maps before the head."""
        values = self._values(patch)
        present = values != 0
        channels = standardized(values)
        has_ndvi = present[:, [CHANNELS.index("B04"), CHANNELS.index("B08")]].all(dim=1, keepdim=True)
        present = torch.cat([present, has_ndvi], dim=1)
        channels = channels * present
        tokens = self._tokens(channels, present)
        side = channels.shape[-2:]
        coarse = F.interpolate(self.coarse(tokens), side, mode="bilinear", align_corners=False)
        fine = self.fine(torch.cat([channels, *(patch[name] for name in self.others)], dim=1))
        features = self.joined(torch.cat([coarse, fine], dim=1))
        return {"logits": self.head(self.dropout(features)), "features": features}

    def encoder_parts(self, inputs: Inputs) -> dict[str, EncoderPart]:
        """Return what pretrained weights fill: the encoder, whose inputs are the same for every city."""
        return {"": EncoderPart(self.encoder, self.encoder_name, {}, fit_first=False)}

    def encoder_file(self, source: str) -> Path | None:
        """Return the file of weights that a name stands for; None for other names."""
        return _WEIGHTS if source == self.encoder_name else None

    @staticmethod
    def encoder_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the published tensors by the encoder's names."""
        return {name.replace(".backbone", ""): value for name, value in state.items()}

    def _values(self, patch: Mapping[str, Tensor]) -> Tensor:
        """Return dB and reflectance [B, 12, H, W], 0 where a city has no such layer."""
        some = patch[self.layers[0]]
        parts = [
            patch[name] if name in self.layers else some.new_zeros(some.shape[0], len(LAYERS[name]), *some.shape[-2:])
            for name in (RADAR, OPTICAL)
        ]
        return torch.cat(parts, dim=1)

    def _tokens(self, channels: Tensor, present: Tensor) -> Tensor:
        """Return the mean over the present groups' tokens, [B, D, H / token_px, W / token_px]."""
        squares, grid = _squares(channels, self.stride_px), self.settings.grid
        here = torch.stack([_squares(present, self.stride_px)[:, list(c)].any(dim=1) for c in GROUPS.values()], dim=1)
        here = F.max_pool2d(here.float(), self.settings.token_px) > 0
        tokens = self.encoder(squares, ~here, self.settings.month, self.settings.resolution_m)
        weights = here.unsqueeze(-1).to(tokens)
        mean = (tokens * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1)  # [B n, grid, grid, D]
        rows, cols = (side // self.stride_px for side in channels.shape[-2:])
        parts = mean.view(channels.shape[0], rows, cols, grid, grid, -1)
        whole: Tensor = parts.permute(0, 5, 1, 3, 2, 4).reshape(channels.shape[0], -1, rows * grid, cols * grid)
        return whole


def _squares(maps: Tensor, side: int) -> Tensor:
    """Return [B, C, H, W] cut into squares, [B n, C, side, side], row by row."""
    batch, channels, height, width = maps.shape
    cut = maps.reshape(batch, channels, height // side, side, width // side, side)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, side, side)


def _layer(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
