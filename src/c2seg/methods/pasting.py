"""Patches of two cities mixed by class (ClassMix, Olsson et al., WACV 2021; DACS, Tranheden et al., WACV 2021).

Axes: B patch, C band, H row, W column.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from c2seg.losses import IGNORE_INDEX

__all__ = ["half_of_the_classes", "pasted"]


def half_of_the_classes(labels: Tensor) -> Tensor:
    """Return bool [B, H, W]: pixels of half of the classes (rounded up, drawn anew) of each patch of labels int64 [B, H, W].

    Pixels without label (255) belong to none. All random numbers come from torch's generator.
    """
    chosen = torch.zeros(labels.shape, dtype=torch.bool, device=labels.device)
    for index, patch in enumerate(labels):
        classes = patch[patch != IGNORE_INDEX].unique()
        order = torch.randperm(len(classes)).to(labels.device)
        chosen[index] = torch.isin(patch, classes[order[: -(-len(classes) // 2)]])
    return chosen


def pasted(above: Mapping[str, Tensor], below: Mapping[str, Tensor], where: Tensor) -> dict[str, Tensor]:
    """Return patches [B, C, H, W] by modality: those of ``above`` where bool [B, H, W] is true, else those of ``below``."""
    return {name: torch.where(where[:, None], values, below[name]) for name, values in above.items()}
