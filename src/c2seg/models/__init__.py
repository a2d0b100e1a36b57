"""Networks, one module per architecture.

A model takes normalized float32 [B, C, H, W] by modality; H and W are multiples of ``stride_px``. It returns a dict with at
least ``logits`` [B, K, H, W] and ``features`` [B, feature_channels, h, w], the last feature maps before the classifier.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from c2seg.errors import InputError, unknown_name
from c2seg.models.deeplabv3plus import DeepLabV3Plus
from c2seg.models.device import choose_device, choose_precision, limit_threads, place, threads_unchanged
from c2seg.models.galileo import Galileo
from c2seg.models.highdan import HighDAN
from c2seg.models.hrnet import SegHRNet
from c2seg.models.mmglots import MMGLOTS
from c2seg.models.mmuda import MMUDA
from c2seg.models.mrsn import MRSN
from c2seg.models.pretrained import PretrainedReport, load_pretrained
from c2seg.models.segformer import SegFormer
from c2seg.models.segnet import SegNet
from c2seg.models.unet import UNet
from c2seg.plugins import call, find, installed

__all__ = [
    "MODELS",
    "PretrainedReport",
    "build_model",
    "choose_device",
    "choose_precision",
    "last_layers",
    "limit_threads",
    "load_pretrained",
    "place",
    "threads_unchanged",
]

# Model by recipe name -> builder(settings, bands by modality, number of classes).
MODELS: dict[str, Callable[[Any, Mapping[str, int], int], nn.Module]] = {
    "deeplabv3plus": DeepLabV3Plus.build,
    "galileo": Galileo.build,
    "highdan": HighDAN.build,
    "hrnet": SegHRNet.build,
    "mmglots": MMGLOTS.build,
    "mmuda": MMUDA.build,
    "mrsn": MRSN.build,
    "segformer": SegFormer.build,
    "segnet": SegNet.build,
    "unet": UNet.build,
}


def build_model(settings: Any, bands: Mapping[str, int], num_classes: int) -> nn.Module:
    """Return a randomly initialized network for the bands of each modality. The same torch seed gives the same weights.

    Names outside ``MODELS`` belong to plug-ins; PluginError if one fails. Pretrained weights are not loaded here but by
    training (``load_pretrained``).
    """
    if settings.name in MODELS:
        return MODELS[settings.name](settings, bands, num_classes)
    plugin = find("models", settings.name)
    if plugin is None:
        raise InputError(unknown_name("network", settings.name, [*MODELS, *(p.name for p in installed("models"))]))
    network: nn.Module = call(plugin, "build", settings, bands, num_classes)
    return network


def last_layers(settings: Any, bands: Mapping[str, int]) -> frozenset[str]:
    """Return the names of the tensors whose shapes depend on the number of classes: the last layer of each head."""
    with torch.random.fork_rng(devices=[]):
        two, three = (build_model(settings, bands, count).state_dict() for count in (2, 3))
    return frozenset(name for name, value in two.items() if value.shape != three[name].shape)
