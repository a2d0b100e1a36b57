"""Encoders of other libraries by name: ``timm:NAME``, ``torchgeo:NAME``, ``terratorch:NAME``, or of a plug-in.

A library is imported when a recipe names an encoder of it. Networks start at random; weights are loaded by training.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from c2seg.errors import InputError, needs_extra, unknown_name
from c2seg.plugins import call, find, installed

__all__ = ["ENCODERS", "Encoder", "build_encoder"]

_PROBE_PX = 64
_ERRORS = (AssertionError, AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class Encoder:
    """A module that returns feature maps of [B, C, H, W], finest first, each with half the resolution of the one before.

    ``channels``: of each level. ``finest``: pixels of the input per pixel of the first. ``name``: as ``load_pretrained``
    takes it for ``imagenet``.
    """

    module: nn.Module
    channels: tuple[int, ...]
    finest: int
    name: str


class Levels(nn.Module):
    """Feature maps of any strides, or tokens of a transformer, brought to levels that each halve the resolution."""

    def __init__(self, net: nn.Module, count: int, levels: int) -> None:
        super().__init__()
        self.net = net
        with torch.no_grad():
            maps = [_as_map(x) for x in _outputs(net.eval()(torch.zeros(1, count, _PROBE_PX, _PROBE_PX)))]
        net.train()
        step = max(1, len(maps) // levels)
        self.picked = tuple(range(len(maps)))[::-1][::step][:levels][::-1]
        if len(self.picked) < levels:
            raise InputError(f"the encoder has {len(maps)} maps, not {levels}; give fewer widths")
        self.channels = tuple(maps[i].shape[1] for i in self.picked)
        self.finest = min(4, max(1, _PROBE_PX // maps[self.picked[0]].shape[-1]))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the levels, finest first."""
        maps = _outputs(self.net(x))
        sides = [
            (x.shape[-2] // (self.finest * 2**i), x.shape[-1] // (self.finest * 2**i)) for i in range(len(self.picked))
        ]
        ratio = x.shape[-2] / x.shape[-1]
        chosen = (_as_map(maps[i], ratio) for i in self.picked)
        return [_resized(one, side) for one, side in zip(chosen, sides, strict=True)]


class Stages(nn.Module):
    """The last map at each resolution of a classifier of torchvision, whose ``features`` are a sequence of stages."""

    def __init__(self, net: nn.Module, count: int) -> None:
        super().__init__()
        if not isinstance(getattr(net, "features", None), nn.Sequential):
            raise ValueError("it has no features, a sequence of stages")
        self.features: nn.Sequential = net.features  # type: ignore[assignment]
        self.channels_last = any(type(module).__name__ == "Permute" for module in self.features.modules())  # Swin
        for module in self.features.modules():
            place = next((n for n, m in module.named_children() if isinstance(m, nn.Conv2d)), None)
            if place is not None:
                setattr(module, place, _with_inputs(getattr(module, place), count))
                break

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps, finest first."""
        maps: list[Tensor] = []
        for stage in self.features:
            x = stage(x)
            shown = x.permute(0, 3, 1, 2) if self.channels_last else x
            if maps and maps[-1].shape[-2:] == shown.shape[-2:]:
                maps.pop()
            maps.append(shown)
        return maps


def build_encoder(name: str, count: int, levels: int) -> Encoder:
    """Return an encoder for ``count`` stacked bands with ``levels`` levels.

    ``LIBRARY:NAME``, where other libraries belong to plug-ins (group ``c2seg.encoders``); a name alone is timm's. Raises
    InputError for an unknown one or one without so many levels, MissingExtraError without the library.
    """
    library, separator, network = name.partition(":")
    library, network = (library, network) if separator else ("timm", name)
    if library in ENCODERS:
        return ENCODERS[library](network, count, levels)
    plugin = find("encoders", library)
    if plugin is None:
        libraries = [*ENCODERS, *(p.name for p in installed("encoders"))]
        raise InputError(f"model.encoder={name}: {unknown_name('library', library, libraries)}")
    module: nn.Module = call(plugin, "build", network, count)
    brought = Levels(module, count, levels)
    return Encoder(brought, brought.channels, brought.finest, name)


def _timm(name: str, count: int, levels: int) -> Encoder:
    """Return the first levels of a network of timm; InputError where they do not each halve the resolution."""
    with needs_extra("an encoder of timm", "train"):
        import timm

    if not timm.is_model(name):
        similar = difflib.get_close_matches(name, timm.list_models()) or ["tf_efficientnet_lite0"]
        raise InputError(f"model.encoder: timm has no network {name!r}; similar or common names: {', '.join(similar)}")
    advice = "use a convolutional encoder such as tf_efficientnet_lite0"
    try:
        # "getter" drops the layers after the last level that is used.
        options: dict[str, Any] = {"in_chans": count, "out_indices": tuple(range(levels))}
        encoder = timm.create_model(name, pretrained=False, features_only=True, feature_cls="getter", **options)
        feature_info: Any = encoder.feature_info
    except _ERRORS as error:
        raise InputError(
            f"model.encoder {name!r} has no {levels} levels: {error}; {advice}, or fewer widths"
        ) from error
    sizes = feature_info.reduction()
    if sizes != [sizes[0] * 2**level for level in range(levels)]:
        raise InputError(f"model.encoder {name!r}: its levels reduce by {sizes}, not each by half; {advice}")
    return Encoder(encoder, tuple(feature_info.channels()), sizes[0], f"timm/{name}")


def _torchgeo(name: str, count: int, levels: int) -> Encoder:
    """Return an encoder of TorchGeo: its networks are those of timm and torchvision, under its own names."""
    with needs_extra("an encoder of TorchGeo", "torchgeo"):
        from torchgeo.models import get_model, list_models

    if name not in list_models():
        raise InputError(f"model.encoder: {unknown_name('network of TorchGeo', name, list_models())}")
    return _leveled(
        f"torchgeo:{name}",
        count,
        levels,
        lambda: get_model(name, weights=None, in_chans=count, features_only=True),
        lambda: get_model(
            name, weights=None, in_chans=count, features_only=True, dynamic_img_size=True
        ),  # transformers
        lambda: Stages(get_model(name, weights=None), count),  # those of torchvision
    )


def _terratorch(name: str, count: int, levels: int) -> Encoder:
    """Return a backbone of TerraTorch, without its weights."""
    with needs_extra("an encoder of TerraTorch", "terratorch"):
        from terratorch.registry import BACKBONE_REGISTRY

    if name not in BACKBONE_REGISTRY:
        raise InputError(f"model.encoder: TerraTorch has no backbone {name!r}; its BACKBONE_REGISTRY lists them")
    build: Callable[..., Any] = BACKBONE_REGISTRY.build
    return _leveled(
        f"terratorch:{name}",
        count,
        levels,
        lambda: build(name, pretrained=False, in_chans=count),
        lambda: build(name, pretrained=False, bands=list(range(count)), num_frames=1),
        lambda: build(name, pretrained=False, modalities={"image": count}),
    )


ENCODERS: dict[str, Callable[[str, int, int], Encoder]] = {
    "terratorch": _terratorch,
    "timm": _timm,
    "torchgeo": _torchgeo,
}
"""Builders by library: of a network's name, the number of bands and of levels."""


def _leveled(name: str, count: int, levels: int, *builders: Callable[[], Any]) -> Encoder:
    """Return the first of some ways to build an encoder that gives maps; networks differ in what they call their bands."""
    reasons = []
    for build in builders:
        try:
            module = Levels(build(), count, levels)
        except (*_ERRORS, NotImplementedError) as error:
            reasons.append(str(error).splitlines()[0][:120] if str(error) else type(error).__name__)
            continue
        return Encoder(module, module.channels, module.finest, name)
    raise InputError(
        f"model.encoder={name} gives no {levels} maps of {count} bands: {'; '.join(dict.fromkeys(reasons))}"
    )


def _with_inputs(layer: nn.Conv2d, count: int) -> nn.Conv2d:
    """Return a convolution like ``layer`` for other inputs, with random weights."""
    made = copy.deepcopy(layer)
    made.in_channels = count
    made.weight = nn.Parameter(torch.empty(layer.out_channels, count, *layer.weight.shape[2:]))
    made.reset_parameters()
    return made


def _outputs(result: Any) -> Sequence[Tensor]:
    """Return the maps or tokens of an encoder as a list."""
    if isinstance(result, Tensor):
        return [result]
    if isinstance(result, dict):
        return list(result.values())
    if isinstance(result, list | tuple) and result and all(isinstance(x, Tensor) for x in result):
        return list(result)
    raise ValueError(f"it returns {type(result).__name__}, no feature maps")


def _as_map(x: Tensor, ratio: float = 1.0) -> Tensor:
    """Return [B, C, H, W] of a map or of tokens [B, N, C]; what is before the last full grid (class tokens) is left out.

    ``ratio``: height by width of the grid.
    """
    if x.ndim == 4:
        return x
    if x.ndim != 3:
        raise ValueError(f"its output has {x.ndim} axes; maps have 4, tokens 3")
    width = int((x.shape[1] / ratio) ** 0.5)
    height = round(width * ratio)
    grid = x[:, x.shape[1] - height * width :]
    return grid.transpose(1, 2).reshape(len(x), -1, height, width)


def _resized(maps: Tensor, side: tuple[int, int]) -> Tensor:
    if tuple(maps.shape[-2:]) == side:
        return maps
    return F.interpolate(maps, side, mode="bilinear", align_corners=False)
