"""Networks, one module per architecture.

A model takes a dict of normalised float32 [B, C, H, W] by modality, H and W multiples of ``stride_px``, and returns a dict
with at least ``logits`` [B, K, H, W].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from c2seg.errors import InputError, unknown_name
from c2seg.models.device import choose_device, place
from c2seg.models.unet import UNet

__all__ = ["MODELS", "build_model", "choose_device", "place"]

# Model by recipe name -> builder(settings, bands by modality, number of classes).
MODELS: dict[str, Callable[[Any, Mapping[str, int], int], nn.Module]] = {"unet": UNet.build}


def build_model(settings: Any, bands: Mapping[str, int], num_classes: int) -> nn.Module:
    """Return a randomly initialised network for the bands of each modality. Seed torch before for equal weights."""
    if settings.name not in MODELS:
        raise InputError(unknown_name("network", settings.name, MODELS))
    return MODELS[settings.name](settings, bands, num_classes)
