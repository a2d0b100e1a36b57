"""MMGLOTS, first place of the 2023 C2Seg challenge: multimodal global-local transformer segmentation.

Axes: B batch, C channel (``width`` unless said), K class, H row, W column. Levels are at 1/4, 1/8, 1/16 and 1/32 of the
enlarged input, finest first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import count
from math import gcd

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from c2seg.data import Band
from c2seg.errors import InputError
from c2seg.models.beit import PATCH_PX, BeitEncoder
from c2seg.models.encoder_part import EncoderPart
from c2seg.models.residual import ResidualEncoders
from c2seg.recipes.models import MMGLOTSModel

__all__ = ["MMGLOTS", "Fusion", "WindowBlock"]

_COARSEST = 32
_PRIMARY = "msi"
_WEIGHTS = "timm/beitv2_base_patch16_224.in1k_ft_in22k"


class MMGLOTS(nn.Module):
    """BEiT on the MSI and residual networks on the other modalities, fused at four levels, decoded from coarse to fine.

    Departures from the released code: the auxiliary head reads the fused feature maps at 1/16 (``aux_sees_decoder``: those
    of the decoder, as released). Residual networks use He initialization. Neck, residual networks and auxiliary head have
    batch normalization, so recipes use batches of four or more.
    """

    def __init__(self, settings: MMGLOTSModel, bands: Mapping[str, int], num_classes: int) -> None:
        super().__init__()
        if _PRIMARY not in bands:
            raise InputError(
                f"mmglots needs the modality {_PRIMARY}, its transformer's input; found {', '.join(bands)}: add it to "
                "inputs, or use a recipe that stacks any modalities, such as unet"
            )
        width = settings.width
        scale = Fraction(settings.scale)
        self.scale = settings.scale
        self.enlarges = settings.enlarges
        self.stride_px = _COARSEST * scale.denominator // gcd(scale.numerator, _COARSEST)
        self.feature_channels = width
        self.others = tuple(name for name in bands if name != _PRIMARY)
        self.encoder = BeitEncoder(
            bands[_PRIMARY],
            width,
            settings.heads,
            settings.taps,
            -(-settings.input_px // PATCH_PX),
            settings.drop_path,
        )
        self.neck = Neck(width)
        self.residual = ResidualEncoders(
            {name: bands[name] for name in self.others},
            settings.cnn_blocks,
            settings.cnn_widths,
            width,
            settings.share_stages,
        )
        self.fusion = Fusion(len(self.others), settings.fusion) if self.others else None
        self.decoder = Decoder(settings)
        self.head = nn.Sequential(nn.Dropout2d(settings.dropout), nn.Conv2d(width, num_classes, 1))
        self.aux_sees_decoder = settings.aux_sees_decoder
        self.aux_head = nn.Sequential(
            nn.Conv2d(width, settings.aux_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(settings.aux_channels),
            nn.ReLU(inplace=True),
            nn.Dropout2d(settings.dropout),
            nn.Conv2d(settings.aux_channels, num_classes, 1),
        )

    @classmethod
    def build(cls, settings: MMGLOTSModel, bands: Mapping[str, int], num_classes: int) -> MMGLOTS:
        """Return the network of a recipe. Raises InputError without MSI."""
        return cls(settings, bands, num_classes)

    def encoder_parts(self, inputs: Mapping[str, Sequence[Band]]) -> dict[str, EncoderPart]:
        """Return what can be pretrained: BEiT with the MSI's bands."""
        return {"beit": EncoderPart(self.encoder, _WEIGHTS, {_PRIMARY: inputs[_PRIMARY]})}

    def encoder_weights(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return published BEiT weights under the encoder's tensor names."""
        return self.encoder.converted(state)

    def forward(self, patch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``logits`` and ``aux`` [B, K, H, W], and ``features`` at a quarter of the enlarged input."""
        size = patch[_PRIMARY].shape[-2:]
        levels = self.fused(patch)
        features, decoded = self.decoder(levels)
        aux = self.aux_head(decoded if self.aux_sees_decoder else levels[2])
        return {"logits": _resized(self.head(features), size), "features": features, "aux": _resized(aux, size)}

    def fused(self, patch: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the fused feature maps of the four levels."""
        parts = [self.neck(self.encoder(self._enlarged(patch[_PRIMARY])))]
        parts += [self.residual(name, self._enlarged(patch[name])) for name in self.others]
        fused: list[Tensor] = self.fusion(parts) if self.fusion is not None else parts[0]
        return fused

    def _enlarged(self, maps: Tensor) -> Tensor:
        if self.scale == 1 or (self.training and self.enlarges == "prediction"):
            return maps
        return F.interpolate(maps, scale_factor=self.scale, mode="bilinear", align_corners=False)


class Neck(nn.Module):
    """BEiT's four feature maps, all at 1/16, resized to the four levels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.finest = nn.Sequential(
            nn.ConvTranspose2d(width, width, 2, stride=2),
            nn.BatchNorm2d(width),
            nn.GELU(),
            nn.ConvTranspose2d(width, width, 2, stride=2),
        )
        self.fine = nn.ConvTranspose2d(width, width, 2, stride=2)
        self.pool = nn.MaxPool2d(2)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return the feature maps at 1/4, 1/8, 1/16 and 1/32."""
        return [self.finest(maps[0]), self.fine(maps[1]), maps[2], self.pool(maps[3])]


class Fusion(nn.Module):
    """The weighted sum of the modalities at each level, MSI first.

    ``softmax``: weights are the softmax over the modalities of trained parameters, initially 4 for MSI and 1 for the others.
    For three modalities, the initial weights are 0.909 and 0.045. ``sum``: the weight of MSI is 1; the others are trained,
    initially 0.05.
    """

    def __init__(self, others: int, kind: str, levels: int = 4) -> None:
        super().__init__()
        self.kind = kind
        initial = torch.tensor([4.0] + [1.0] * others) if kind == "softmax" else torch.full((others,), 0.05)
        self.raw = nn.Parameter(initial.repeat(levels, 1))

    def weights(self) -> Tensor:
        """Return [levels, modalities]."""
        if self.kind == "softmax":
            return self.raw.softmax(dim=1)
        return torch.cat([torch.ones_like(self.raw[:, :1]), self.raw], dim=1)

    def forward(self, parts: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """Return the sums by level from feature maps by modality and level."""
        weights = self.weights()
        fused = []
        for level, maps in enumerate(zip(*parts, strict=True)):
            total = weights[level, 0] * maps[0]
            for index, other in enumerate(maps[1:], 1):
                total = total + weights[level, index] * other
            fused.append(total)
        return fused


class Decoder(nn.Module):
    """Window attention at every level, global attention at the coarsest, and a context path from all levels to the finest.

    Inside, feature maps are [B, H, W, C].
    """

    def __init__(self, settings: MMGLOTSModel) -> None:
        super().__init__()
        from timm.models.vision_transformer import Block

        width, depths, heads = settings.width, settings.decoder_blocks, settings.decoder_heads
        rates = [settings.drop_path * index / max(1, sum(depths) - 1) for index in range(sum(depths))]
        number = count()
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(
                    WindowBlock(width, h, settings.window, settings.window // 2 * (i % 2), rates[next(number)])
                    for i in range(depth)
                )
            )
            for depth, h in zip(depths, heads, strict=True)
        )
        self.global_block = Block(width, heads[-1], qkv_bias=True)
        self.up = nn.ModuleList(Upsampling(width, settings.upsampling) for _ in depths[1:])
        self.context = Context(width, len(depths))
        self.norm = nn.LayerNorm(width)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the finest decoded feature maps and those that enter the stage at 1/16, both [B, C, h, w]."""
        fine_first = [maps.permute(0, 2, 3, 1) for maps in levels]
        coarse = fine_first[-1]
        attended = self.global_block(coarse.flatten(1, 2)).view(coarse.shape)
        maps = self.stages[0](coarse) + attended
        entering = []
        for stage, up, skip in zip(self.stages[1:], self.up, fine_first[-2::-1], strict=True):
            entering.append(skip + up(maps))
            maps = entering[-1]
            if len(entering) == len(self.up):
                maps = maps + self.context(fine_first)
            maps = stage(maps)
        return self.norm(maps).permute(0, 3, 1, 2), entering[0].permute(0, 3, 1, 2)


class Context(nn.Module):
    """All levels, resized to the finest and concatenated, through one linear layer and a layer normalization.

    Before resizing, each level goes through its part of the linear layer. The sums are the same, with less arithmetic.
    """

    def __init__(self, width: int, levels: int) -> None:
        super().__init__()
        self.linear = nn.ModuleList(nn.Linear(width, width, bias=level == 0) for level in range(levels))
        self.norm = nn.LayerNorm(width)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Return [B, H/4, W/4, C]."""
        total = self.linear[0](levels[0])
        size = total.shape[1:3]
        for linear, maps in zip(self.linear[1:], levels[1:], strict=True):
            total = total + _resized(linear(maps).permute(0, 3, 1, 2), size).permute(0, 2, 3, 1)
        normed: Tensor = self.norm(total)
        return normed


class Upsampling(nn.Module):
    """Twice the resolution, normalized before and after."""

    def __init__(self, width: int, kind: str) -> None:
        super().__init__()
        self.before = nn.LayerNorm(width)
        self.up: nn.Module = (
            nn.ConvTranspose2d(width, width, 2, stride=2)
            if kind == "transposed"
            else nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        )
        self.after = nn.LayerNorm(width)

    def forward(self, maps: Tensor) -> Tensor:
        """Return [B, 2H, 2W, C]."""
        doubled = self.up(self.before(maps).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        normed: Tensor = self.after(doubled)
        return normed


class WindowBlock(nn.Module):
    """Attention in windows of ``window`` x ``window`` with relative position bias, and an MLP (Liu et al., ICCV 2021).

    After the first normalization, feature maps are zero-padded to whole windows. ``shift`` moves the windows cyclically;
    pixels that were not neighbors do not attend to each other.
    """

    def __init__(self, width: int, heads: int, window: int = 7, shift: int = 0, drop_path: float = 0.0) -> None:
        super().__init__()
        from timm.layers.drop import DropPath
        from timm.layers.mlp import Mlp
        from timm.models.swin_transformer import WindowAttention

        self.window = window
        self.shift = shift
        self.norm1 = nn.LayerNorm(width)
        self.attention = WindowAttention(width, heads, window_size=window)
        nn.init.zeros_(self.attention.relative_position_bias_table)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, 4 * width)
        self.drop_path = DropPath(drop_path)

    def forward(self, maps: Tensor) -> Tensor:
        """Return [B, H, W, C] of the same shape."""
        maps = maps + self.drop_path(self._attend(self.norm1(maps)))
        result: Tensor = maps + self.drop_path(self.mlp(self.norm2(maps)))
        return result

    def _attend(self, maps: Tensor) -> Tensor:
        batch, height, width, channels = maps.shape
        side = self.window
        maps = F.pad(maps, (0, 0, 0, -width % side, 0, -height % side))
        rows, cols = maps.shape[1] // side, maps.shape[2] // side
        mask = None
        if self.shift:
            maps = maps.roll((-self.shift, -self.shift), dims=(1, 2))
            mask = self._mask(rows, cols, maps.device)
        windows = maps.view(batch, rows, side, cols, side, channels).transpose(2, 3).reshape(-1, side * side, channels)
        windows = self.attention(windows, mask=mask)
        maps = windows.view(batch, rows, cols, side, side, channels).transpose(2, 3)
        maps = maps.reshape(batch, rows * side, cols * side, channels)
        if self.shift:
            maps = maps.roll((self.shift, self.shift), dims=(1, 2))
        return maps[:, :height, :width]

    def _mask(self, rows: int, cols: int, device: torch.device) -> Tensor:
        """Return [rows * cols, window^2, window^2]: 0 where two pixels of a shifted window were neighbors, else -100."""

        def wrapped(number: int) -> Tensor:
            positions = torch.arange(number * self.window, device=device)
            return (positions >= number * self.window - self.shift).long()

        region = wrapped(rows)[:, None] * 2 + wrapped(cols)[None, :]
        region = region.view(rows, self.window, cols, self.window).transpose(1, 2).reshape(rows * cols, -1)
        return (region[:, :, None] != region[:, None, :]).float() * -100.0


def _resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(maps, tuple(size), mode="bilinear", align_corners=False)
