"""A network: convolutions at full resolution on all modalities, stacked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from c2seg.recipes import ModelSettings

if TYPE_CHECKING:
    from torch import nn


class ToyNetSettings(ModelSettings):
    """What a recipe may say of it."""

    name: Literal["toynet"] = "toynet"
    width: int = Field(default=16, ge=1)
    """Channels."""


settings = ToyNetSettings


def build(settings: ToyNetSettings, bands: Mapping[str, int], num_classes: int) -> nn.Module:
    """Return the network; torch is imported here, not when settings are checked."""
    from c2seg_toy.toynet import ToyNet

    return ToyNet(settings, bands, num_classes)
