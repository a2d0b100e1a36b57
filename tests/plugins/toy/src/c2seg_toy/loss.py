"""A loss: cross-entropy and ``epsilon`` times 1 - p of the labeled class (Poly-1, Leng et al., ICLR 2022)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from c2seg.recipes import LossSettings

if TYPE_CHECKING:
    from torch import Tensor


class Poly1Settings(LossSettings):
    """What a recipe may say of it."""

    name: Literal["poly1"] = "poly1"
    epsilon: float = 1.0


settings = Poly1Settings


def compute(logits: Tensor, targets: Tensor, weights: Tensor | None, settings: Poly1Settings) -> tuple[Tensor, Tensor]:
    """Return the sum over the labeled pixels, and their number (the sum of their weights)."""
    import torch

    labeled = targets != 255
    nll = torch.nn.functional.cross_entropy(logits.float(), targets, ignore_index=255, reduction="none")
    values = (nll + settings.epsilon * (1 - torch.exp(-nll)))[labeled]
    share = torch.ones_like(values) if weights is None else weights[targets[labeled]]
    return (values * share).sum(), share.sum()
