"""Train on the labeled sources and the pseudo-labeled target together."""

from __future__ import annotations

import torch

from c2seg.errors import InputError
from c2seg.methods.base import Batch
from c2seg.methods.supervised import Supervised

__all__ = ["PseudoLabeled"]


class PseudoLabeled(Supervised):
    """One step on the supervised loss of source and target patches together; labels of the target are pseudo-labels."""

    def step(self, source: Batch, target: Batch | None) -> dict[str, torch.Tensor]:
        """Take one step; returns ``loss`` and its terms."""
        if target is None or target.targets is None or source.targets is None:
            raise InputError("training on pseudo-labels needs the target's images: give `target`")
        both = Batch(
            {name: torch.cat([values, target.patch[name]]) for name, values in source.patch.items()},
            torch.cat([source.valid, target.valid]),
            torch.cat([source.targets, target.targets]),
        )
        return super().step(both, None)
