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
        first = source.of_source

        def joined(values: torch.Tensor, of_target: torch.Tensor) -> torch.Tensor:
            parts = [values[:first], of_target, values[first:]]  # labels that are no pseudo-labels stay last
            return torch.cat(parts if source.of_target else parts[:2])

        both = Batch(
            {name: joined(values, target.patch[name]) for name, values in source.patch.items()},
            joined(source.valid, target.valid),
            joined(source.targets, target.targets),
            source.of_target,
        )
        return super().step(both, None)
