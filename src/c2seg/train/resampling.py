"""Windows of a city made patches on the device of the training: hundreds of enlarged bands are slow to make and to move."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from c2seg.sampling.patches import Windows

__all__ = ["nearest", "patches_of", "resampled"]


def patches_of(bands: Mapping[str, Tensor], valid: Tensor, windows: Windows) -> dict[str, Tensor]:
    """Return the patches float32 [B, C, size, size] by modality of windows [B, C, H, W], each resampled once.

    ``valid`` is ``windows.valid`` on the device of the bands.
    """
    whole = [bool(mask[:side, :side].all()) for mask, side in zip(windows.valid, windows.sides, strict=True)]
    patches = {}
    for name, values in bands.items():
        parts = [
            resampled(maps[:, :side, :side].contiguous(), mask[:side, :side], windows.size_px, whole=all_valid)
            for maps, mask, side, all_valid in zip(values, valid, windows.sides, whole, strict=True)
        ]
        patches[name] = torch.stack(parts).contiguous(memory_format=torch.channels_last)
    return patches


def resampled(values: Tensor, valid: Tensor, size: int, *, whole: bool) -> Tensor:
    """Return float32 [C, size, size] of bands [C, H, H] with validity bool [H, H], as ``sampling.zoom.zoomed`` does.

    ``whole``: all pixels are valid; the caller knows it without asking the device.
    """

    def bilinear(maps: Tensor) -> Tensor:
        shrinks = maps.shape[-1] > size
        return F.interpolate(maps[None], (size, size), mode="bilinear", align_corners=False, antialias=shrinks)[0]

    out = bilinear(values)
    if whole:
        return out
    weight, new_valid = bilinear(valid[None].float())[0], nearest(valid, size)
    return out * (new_valid / weight.where(new_valid, weight.new_ones(())))


def nearest(valid: Tensor, size: int) -> Tensor:
    """Return [size, size], the nearest values of [H, H], as ``sampling.zoom.nearest`` does."""
    positions = ((2 * torch.arange(size, device=valid.device) + 1) * valid.shape[-1]) // (2 * size)
    return valid[positions[:, None], positions]
