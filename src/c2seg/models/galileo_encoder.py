"""The encoder of Galileo (Tseng et al., arXiv 2502.09356) for one date of Sentinel-1 and Sentinel-2, after the paper.

Tensors have the names of the published weights. Axes: B batch, C channel, D embedding, G group of bands, h, w tokens.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["CHANNELS", "GROUPS", "GalileoEncoder", "standardized"]

CHANNELS = ("VV", "VH", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12", "NDVI")
GROUPS: dict[str, tuple[int, ...]] = {
    "S1": (0, 1), "S2_RGB": (2, 3, 4), "S2_Red_Edge": (5, 6, 7), "S2_NIR_10m": (8,), "S2_NIR_20m": (9,),
    "S2_SWIR": (10, 11), "NDVI": (12,),
}  # fmt: skip
"""Channels of each group of bands; a group is a token of its own at every place."""

# Of the pretraining images: dB and reflectance. Values are moved by mean - 2 deviations and divided by 4.
_MEAN = (-11.728724, -18.855582, 0.13953409, 0.13384027, 0.13430990, 0.15438608, 0.21862022, 0.25250933, 0.24103377,
         0.27502855, 0.22349111, 0.14745311)  # fmt: skip
_STD = (4.8871458, 5.7302703, 0.091770414, 0.091329884, 0.10926787, 0.10472206, 0.10480102, 0.11436903, 0.10989792,
        0.12044728, 0.11459774, 0.098024298)  # fmt: skip
_BASE_M = 10.0
_LARGEST_PX = 8  # of the kernels as they are stored


class GalileoEncoder(nn.Module):
    """Tokens of ``token_px`` x ``token_px`` pixels for each group of bands, through blocks of self-attention.

    Kernels of other sizes than 8 are resized by the pseudo-inverse of the images' resizing (FlexiViT, Beyer et al., CVPR
    2023). To each token is added what it is: group, date, month, place.
    """

    resizing: Tensor

    def __init__(self, size: int = 128, depth: int = 4, heads: int = 8, token_px: int = 4) -> None:
        super().__init__()
        self.size, self.token_px = size, token_px
        self.space_time_embed = nn.ModuleDict({name: _Patches(len(c), size) for name, c in GROUPS.items()})
        self.s_t_channel_embed = nn.Parameter(torch.zeros(len(GROUPS), size // 4))
        self.blocks = nn.ModuleList(_Block(size, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(size)
        self.register_buffer("resizing", _resizing(token_px), persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor, missing: Tensor, month: int = 6, resolution_m: float = 10.0) -> Tensor:
        """Return tokens [B, G, h, w, D] of standardized channels [B, 13, H, W].

        ``missing`` bool [B, G, h, w]: tokens that take no part; their result is that of a token of zeros.
        """
        kernels = {name: patches.kernel(self.resizing) for name, patches in self._patches().items()}
        maps = [
            F.conv2d(x[:, list(GROUPS[name])], kernel, self._patches()[name].proj.bias, stride=self.token_px)
            for name, kernel in kernels.items()
        ]
        tokens = torch.stack(maps, dim=1).movedim(2, -1)  # [B, G, h, w, D]
        tokens = tokens + self._what_it_is(tokens, month, resolution_m)
        present = ~missing
        everything = range(len(GROUPS))
        batch, groups = tokens.shape[0], [g for g in everything if bool(present[:, g].any())] or list(everything)
        used = present[:, groups].reshape(batch, -1)
        sequence = (tokens[:, groups] * present[:, groups].unsqueeze(-1)).reshape(batch, -1, self.size)
        # Where nothing is present, attention over zeros keeps the result finite.
        seen = (used | ~used.any(dim=1, keepdim=True))[:, None, None]
        for block in self.blocks:
            sequence = block(sequence, seen)
        result = torch.zeros_like(tokens)
        result[:, groups] = (sequence * used.unsqueeze(-1)).reshape(batch, len(groups), *tokens.shape[2:]).to(result)
        return self.norm(result)  # type: ignore[no-any-return]

    def _patches(self) -> dict[str, _Patches]:
        return {name: module for name, module in self.space_time_embed.items() if isinstance(module, _Patches)}

    def _what_it_is(self, tokens: Tensor, month: int, resolution_m: float) -> Tensor:
        """Return what is added to tokens [B, G, h, w, D]: a quarter each for group, date, month, place; [1, G, h, w, D]."""
        groups, height, width = tokens.shape[1:4]
        quarter = self.size // 4
        shape = (1, groups, height, width, quarter)
        angle = torch.tensor([2 * math.pi * (month - 1) / 12], device=tokens.device).expand(quarter // 2)
        first = _waves(torch.zeros(1, device=tokens.device), quarter)  # the only date
        ratio = self.token_px * resolution_m / _BASE_M
        rows, cols = (_waves(torch.arange(n, device=tokens.device) * ratio, quarter // 2) for n in (height, width))
        place = torch.cat(
            [cols[None].expand(height, -1, -1), rows[:, None].expand(-1, width, -1)], dim=-1
        )  # x before y
        return torch.cat(
            [
                self.s_t_channel_embed.view(1, groups, 1, 1, quarter).expand(shape),
                first.expand(shape),
                torch.cat([angle.sin(), angle.cos()]).expand(shape),
                place.expand(shape),
            ],
            dim=-1,
        )


def standardized(values: Tensor) -> Tensor:
    """Return channels [B, 13, H, W] as in pretraining, of dB (2) and reflectance (10); the last is their NDVI."""
    mean, std = (torch.tensor(x, device=values.device).view(1, -1, 1, 1) for x in (_MEAN, _STD))
    red, near = values[:, CHANNELS.index("B04")], values[:, CHANNELS.index("B08")]
    total = near + red
    ndvi = torch.where(total.abs() > 1e-6, (near - red) / torch.where(total.abs() > 1e-6, total, 1.0), 0.0)
    return torch.cat([(values - mean + 2 * std) / (4 * std), ndvi.clamp(-1, 1).unsqueeze(1)], dim=1)


class _Patches(nn.Module):
    """Linear embedding of patches of 8 x 8 pixels."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, size, _LARGEST_PX, stride=_LARGEST_PX)

    def kernel(self, resizing: Tensor) -> Tensor:
        """Return the kernel for smaller patches: ``resizing`` [side^2, 64] times that of 64 pixels."""
        weight = self.proj.weight
        side = math.isqrt(len(resizing))
        if side == _LARGEST_PX:
            return weight
        flat: Tensor = torch.einsum("sl,ocl->ocs", resizing.to(weight), weight.flatten(2))
        return flat.view(*flat.shape[:2], side, side)


class _Attention(nn.Module):
    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.proj = (nn.Linear(size, size) for _ in range(4))

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        q, k, v = (
            layer(x).view(x.shape[0], -1, self.heads, x.shape[-1] // self.heads).transpose(1, 2)
            for layer in (self.q, self.k, self.v)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        return self.proj(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class _Mlp(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(size, 4 * size), nn.Linear(4 * size, size)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))  # type: ignore[no-any-return]


class _Block(nn.Module):
    """Pre-norm self-attention and two-layer perceptron (Dosovitskiy et al., ICLR 2021)."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(size), nn.LayerNorm(size)
        self.attn, self.mlp = _Attention(size, heads), _Mlp(size)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x), seen)
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


def _waves(positions: Tensor, size: int) -> Tensor:
    """Return sines and cosines [N, size] of positions [N], of falling frequencies (those of the published weights)."""
    frequencies = 10_000.0 ** -(torch.arange(size // 2, device=positions.device) / size / 2)
    angles = positions[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _resizing(side: int) -> Tensor:
    """Return [side^2, 64]: the pseudo-inverse of resizing images of 8 x 8 pixels to ``side`` x ``side`` (bicubic)."""
    units = torch.eye(_LARGEST_PX**2, device="cpu").view(-1, 1, _LARGEST_PX, _LARGEST_PX)
    resized = F.interpolate(units, (side, side), mode="bicubic", antialias=True)
    inverse: Tensor = torch.linalg.pinv(resized.flatten(1))
    return inverse
