"""Windows of a city made patches on the device of the training: hundreds of enlarged bands are slow to make and to move."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from c2seg.sampling.patches import Windows

__all__ = ["patches_of", "resampled"]


def patches_of(bands: Mapping[str, Tensor], windows: Windows) -> dict[str, Tensor]:
    """Return the patches float32 [B, C, size, size] by modality of windows [B, C, H, W], each resampled once."""
    device = next(iter(bands.values())).device
    valid = torch.from_numpy(windows.valid).to(device)
    patches = {}
    for name, values in bands.items():
        parts = [
            resampled(maps[:, :side, :side].contiguous(), mask[:side, :side], windows.size_px)
            for maps, mask, side in zip(values, valid, windows.sides, strict=True)
        ]
        patches[name] = torch.stack(parts).contiguous(memory_format=torch.channels_last)
    return patches


def resampled(values: Tensor, valid: Tensor, size: int) -> Tensor:
    """Return float32 [C, size, size] of bands [C, H, H] with validity bool [H, H], as ``sampling.zoom.zoomed`` does."""

    def bilinear(maps: Tensor) -> Tensor:
        shrinks = maps.shape[-1] > size
        return F.interpolate(maps[None], (size, size), mode="bilinear", align_corners=False, antialias=shrinks)[0]

    out = bilinear(values)
    if bool(valid.all()):
        return out
    positions = ((2 * np.arange(size) + 1) * valid.shape[-1]) // (2 * size)
    new_valid = valid[positions[:, None], positions]
    weight = bilinear(valid[None].float())[0]
    return out * (new_valid / weight.where(new_valid, weight.new_ones(())))
