"""BEiT (Bao et al., ICLR 2022; v2: Peng et al. 2022) as an encoder of feature maps, with timm's blocks.

Axes: B batch, C channel, N token, H row, W column.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import isqrt, sqrt

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from c2seg.errors import ModelFileError, needs_extra

__all__ = ["BeitEncoder", "relative_index", "resized_table"]

PATCH_PX = 16
_CLASS_ENTRIES = 3  # of a table: class token to patch, patch to class token, class token to itself


class BeitEncoder(nn.Module):
    """Patches of 16 x 16, a class token, blocks with layer scale, and one table of relative position biases per block.

    The tables cover offsets in a square of ``tokens`` x ``tokens``. A smaller input, square or not, uses
    their middle. In a larger input, pairs beyond the reach of a table share its outermost entries. Tensor names are
    timm's, except that the tables are in ``tables``.
    """

    def __init__(
        self, bands: int, width: int, heads: int, taps: Sequence[int], tokens: int, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        with needs_extra("BEiT", "train"):
            from timm.layers.patch_embed import PatchEmbed  # takes seconds
            from timm.models.beit import Block

        depth = taps[-1]
        self.taps = tuple(taps)
        self.tokens = tokens
        self.patch_embed = PatchEmbed(None, PATCH_PX, bands, width, flatten=False, strict_img_size=False)
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.blocks = nn.ModuleList(
            Block(
                width,
                heads,
                qkv_bias=True,
                drop_path=drop_path * index / max(1, depth - 1),
                init_values=0.1,
            )
            for index in range(depth)
        )
        entries = (2 * tokens - 1) ** 2 + _CLASS_ENTRIES
        self.tables = nn.ParameterList(nn.Parameter(torch.zeros(entries, heads)) for _ in range(depth))
        self._initialize()

    def _initialize(self) -> None:
        """Initialize as published: normal weights, with smaller residual branches in deeper blocks."""
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        with torch.no_grad():
            for number, block in enumerate(self.blocks, 1):
                block.attn.proj.weight.div_(sqrt(2.0 * number))  # type: ignore[union-attr, operator]
                block.mlp.fc2.weight.div_(sqrt(2.0 * number))  # type: ignore[union-attr, operator]

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the feature maps [B, width, H/16, W/16] after the blocks in ``taps``."""
        maps = self.patch_embed(image)
        rows, cols = maps.shape[-2:]
        tokens = torch.cat([self.cls_token.expand(maps.shape[0], -1, -1), maps.flatten(2).transpose(1, 2)], dim=1)
        index = relative_index(rows, cols, self.tokens, image.device)
        levels = []
        for number, (block, table) in enumerate(zip(self.blocks, self.tables, strict=True), 1):
            bias = F.embedding(index, table).permute(2, 0, 1).unsqueeze(0)
            tokens = block(tokens, shared_rel_pos_bias=bias.to(tokens.dtype))
            if number in self.taps:
                levels.append(tokens[:, 1:].transpose(1, 2).unflatten(2, (rows, cols)))
        return levels

    def converted(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return published weights under our names, with tables resized to ours (resized_table)."""
        converted = {}
        for name, value in state.items():
            if name.endswith("relative_position_index"):
                continue
            if match := re.fullmatch(r"(.*)blocks\.(\d+)\.attn\.relative_position_bias_table", name):
                name = f"{match[1]}tables.{match[2]}"
                value = resized_table(value, self.tokens, name)
            converted[name] = value
        return converted


def resized_table(table: Tensor, tokens: int, name: str = "table") -> Tensor:
    """Return a table [entries, heads] over ``tokens`` x ``tokens`` from one over any other square.

    A smaller table is the middle of the old one. In a larger one, the old entries are placed at distances 1, 1 + q,
    1 + q + q^2, ... from the center, the last at the new border. Cubic splines interpolate between them (as in BEiT's
    fine-tuning). Entries of the class token are kept. Raises ModelFileError for a table that is not square.
    """
    from scipy.interpolate import RectBivariateSpline
    from scipy.optimize import brentq

    side = isqrt(max(0, len(table) - _CLASS_ENTRIES))
    if table.ndim != 2 or side**2 != len(table) - _CLASS_ENTRIES or side % 2 == 0 or side < 5:
        raise ModelFileError(
            f"{name} {tuple(table.shape)} is no table of relative positions over a square of at least 3 x 3 tokens"
        )
    grids = table[:-_CLASS_ENTRIES].T.reshape(-1, side, side)
    old, new = side // 2, tokens - 1
    if new <= old:
        middle = grids[:, old - new : old + new + 1, old - new : old + new + 1]
    else:
        powers = np.arange(old)
        ratio = brentq(lambda q: (q**powers).sum() - new, 1.0, 1.0 + new)
        distances = np.cumsum(ratio**powers)
        positions = np.concatenate([-distances[::-1], [0.0], distances])
        offsets = np.arange(-new, new + 1)
        splines = (RectBivariateSpline(positions, positions, grid.double().numpy()) for grid in grids)
        middle = torch.from_numpy(np.stack([spline(offsets, offsets) for spline in splines])).to(table)
    return torch.cat([middle.flatten(1).T, table[-_CLASS_ENTRIES:]])


def relative_index(rows: int, cols: int, tokens: int, device: torch.device | None = None) -> Tensor:
    """Return int64 [N, N], N = 1 + rows * cols: the entry of a table over ``tokens`` x ``tokens`` for each pair.

    Rows are queries, columns are keys; the class token is first. Offsets beyond the table are clipped.
    """
    reach = tokens - 1

    def offsets(count: int) -> Tensor:
        positions = torch.arange(count, device=device)
        return (positions[:, None] - positions[None, :]).clamp(-reach, reach) + reach

    down, across = offsets(rows), offsets(cols)
    pairs = (down[:, None, :, None] * (2 * reach + 1) + across[None, :, None, :]).reshape(rows * cols, rows * cols)
    first = (2 * reach + 1) ** 2
    to_class = torch.full_like(pairs[:, :1], first + 1)
    from_class = torch.full_like(pairs[:1], first)
    top = torch.cat([torch.full_like(pairs[:1, :1], first + 2), from_class], dim=1)
    return torch.cat([top, torch.cat([to_class, pairs], dim=1)])
