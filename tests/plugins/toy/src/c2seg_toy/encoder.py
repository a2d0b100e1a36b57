"""An encoder for the U-Net of c2seg: two strided convolutions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def build(name: str, count: int) -> nn.Module:
    """Return the encoder that a recipe names as ``toy:NAME``, for ``count`` stacked bands, with random weights."""
    from c2seg_toy.pyramid import Pyramid

    return Pyramid(count, {"small": 6, "large": 12}[name])
