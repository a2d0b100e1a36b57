"""MRSN, third place of the challenge: one ConvNeXt for each group of bands, fused before and after UPerNet heads.

Axes: B batch, C channel, K class, H row, W column.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from c2seg.data import Band
from c2seg.data.published import MSI_ROLES
from c2seg.errors import InputError, needs_extra
from c2seg.models.encoder_part import EncoderPart
from c2seg.models.upernet import UPerHead
from c2seg.recipes.models import MRSNModel

__all__ = ["MRSN", "branch_bands"]

# The input channels of each branch: (modality, band position from 0).
Branches = dict[str, tuple[tuple[str, int], ...]]
_OPTICAL, _SPECTRUM, _RADAR = "msi", "hsi", "sar"


class ConvNeXtTrunk(nn.Module):
    """Stem and first three stages of timm's ConvNeXt; with ``upsample`` the stem's output is enlarged twice (nearest).

    It returns feature maps at 1/2, 1/4 and 1/8; without ``upsample`` at 1/4, 1/8 and 1/16. Tensor names are timm's.
    """

    def __init__(self, encoder: str, bands: int, *, upsample: bool) -> None:
        super().__init__()
        net = _convnext(encoder, bands)
        self.stem: nn.Module = net.stem
        self.stages: nn.Sequential = net.stages[:3]
        self.upsample = upsample
        self.channels = tuple(int(info["num_chs"]) for info in net.feature_info[:3])

    def forward(self, values: Tensor) -> list[Tensor]:
        """Return the three feature maps, finest first."""
        maps = self.stem(values)
        if self.upsample:
            maps = F.interpolate(maps, scale_factor=2.0, mode="nearest")
        levels = []
        for stage in self.stages:
            maps = stage(maps)
            levels.append(maps)
        return levels


class MRSN(nn.Module):
    """Trunks by branch and UPerNet heads on groups of them; the heads' logits are summed (Fusion II).

    Within a group the feature maps are concatenated level by level (Fusion I). A branch without bands is left out.
    """

    def __init__(self, settings: MRSNModel, bands: Mapping[str, int], num_classes: int) -> None:
        super().__init__()
        self.branches = branch_bands(settings, bands)
        self.trunks = nn.ModuleDict(
            {
                name: ConvNeXtTrunk(settings.encoder, len(channels), upsample=settings.stem_upsample)
                for name, channels in self.branches.items()
            }
        )
        early = [name for name in self.branches if name != _SPECTRUM or settings.fusion == "cat"]
        late = [name for name in self.branches if name not in early]
        self.groups = [group for group in (early, late) if group]
        widths = {name: trunk.channels for name, trunk in self.trunks.items()}
        self.heads = nn.ModuleList(
            UPerHead(
                [sum(level) for level in zip(*(widths[name] for name in group), strict=True)],
                settings.channels,
                num_classes,
                settings.dropout,
            )
            for group in self.groups
        )
        self.feature_channels = settings.channels * len(self.groups)
        self.stride_px = 8 if settings.stem_upsample else 16
        self.encoder_name = settings.encoder
        self.align_corners = settings.align_corners
        self.fitted_stems = settings.stems == "fitted"
        self.roles = {position: role for role, position in _colors(settings, bands.get(_OPTICAL, 0)).items()}

    @classmethod
    def build(cls, settings: MRSNModel, bands: Mapping[str, int], num_classes: int) -> MRSN:
        """Return the network of a recipe. Raises InputError if the encoder is not a ConvNeXt or a modality is unused."""
        return cls(settings, bands, num_classes)

    def encoder_parts(self, inputs: Mapping[str, Sequence[Band]]) -> dict[str, EncoderPart]:
        """Return what can be pretrained: each trunk with its bands; the recipe gives the positions of the colors."""
        parts = {}
        for name, channels in self.branches.items():
            bands: dict[str, list[Band]] = {}
            for modality, position in channels:
                band = inputs[modality][position]
                if modality == _OPTICAL:
                    band = replace(band, role=self.roles.get(position, band.role))
                bands.setdefault(modality, []).append(band)
            trunk = self.trunks[name]
            parts[name] = EncoderPart(trunk, f"tu-{self.encoder_name}", bands, fit_first=self.fitted_stems)
        return parts

    def forward(self, patch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``logits`` [B, K, H, W] and ``features`` [B, C, H/2, W/2] (H/4 without upsampling) of all heads."""
        levels = {name: self.trunks[name](_select(patch, channels)) for name, channels in self.branches.items()}
        outputs = [
            head([torch.cat(maps, dim=1) for maps in zip(*(levels[name] for name in group), strict=True)])
            for head, group in zip(self.heads, self.groups, strict=True)
        ]
        logits = torch.stack([output for output, _ in outputs]).sum(dim=0)
        size = next(iter(patch.values())).shape[-2:]
        return {
            "logits": F.interpolate(logits, size, mode="bilinear", align_corners=self.align_corners),
            "features": torch.cat([features for _, features in outputs], dim=1),
        }


def branch_bands(settings: MRSNModel, bands: Mapping[str, int]) -> Branches:
    """Return the input channels (modality, band position from 0) by branch.

    The branch ``rgb`` has blue, green and red of ``msi``. ``gbnir`` has green, blue and near infrared, or red if there is no
    near infrared. With two or three branches, near infrared and ``sar`` share one. With four, every modality but ``msi`` has
    a separate branch. Raises InputError when no branch remains or a modality would be unused.
    """
    colors = _colors(settings, bands.get(_OPTICAL, 0))
    rgb = tuple((_OPTICAL, colors[role]) for role in ("blue", "green", "red") if role in colors)
    nir = tuple((_OPTICAL, colors[role]) for role in ("nir",) if role in colors)
    radar = tuple((_RADAR, i) for i in range(bands.get(_RADAR, 0)))
    others: Branches = {
        name: tuple((name, i) for i in range(count)) for name, count in bands.items() if name != _OPTICAL
    }
    last = nir or rgb[2:]
    branches: Branches = {
        1: {"rgb": rgb},
        2: {"rgb": rgb, "nirsar": nir + radar},
        3: {"rgb": rgb, "nirsar": nir + radar, _SPECTRUM: others.get(_SPECTRUM, ())},
        4: {"gbnir": rgb[:2] + last, "rgb": rgb, **others},
    }[settings.branches]
    branches = {name: channels for name, channels in branches.items() if channels}
    used = {modality for channels in branches.values() for modality, _ in channels}
    unused = [name for name in bands if name not in used]
    if unused or not branches:
        takes = {1: "msi", 2: "msi and sar", 3: "msi, sar and hsi", 4: "every modality"}[settings.branches]
        raise InputError(
            f"mrsn with {settings.branches} branch{'es' if settings.branches > 1 else ''} takes {takes}, the inputs are "
            f"{', '.join(bands) or 'none'}; set inputs or model.branches"
        )
    return branches


def _colors(settings: MRSNModel, count: int) -> dict[str, int]:
    """Return the position in ``msi`` by color. The default order is blue, green, red, near infrared."""
    colors: Mapping[Any, int] = settings.colors or {role: i for i, role in enumerate(MSI_ROLES[:count])}
    if count and max(colors.values()) >= count:
        raise InputError(f"model.colors {colors} names a band that msi does not have ({count} bands, counted from 0)")
    return dict(colors) if count else {}


def _select(patch: Mapping[str, Tensor], channels: Sequence[tuple[str, int]]) -> Tensor:
    """Return [B, C, H, W] of the given input channels."""
    parts = []
    for modality in dict.fromkeys(name for name, _ in channels):
        positions = [i for name, i in channels if name == modality]
        values = patch[modality]
        parts.append(values if positions == list(range(values.shape[1])) else values[:, positions])
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _convnext(name: str, bands: int) -> Any:
    with needs_extra("MRSN", "train"):
        import timm
        from timm.models.convnext import ConvNeXt

    known = timm.list_models("convnext*")
    if name.split(".")[0] not in known:
        similar = difflib.get_close_matches(name, known, n=3)
        raise InputError(
            f"unknown ConvNeXt {name!r}. {'Did you mean ' + ' or '.join(similar) + '? ' if similar else ''}"
            "Valid: timm's convnext_small, convnext_tiny, convnext_atto, ..."
        )
    net = timm.create_model(name, in_chans=bands, num_classes=0, drop_path_rate=0.0)
    assert isinstance(net, ConvNeXt)
    return net
