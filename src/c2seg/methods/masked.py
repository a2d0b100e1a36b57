"""Learn without labels: restore hidden blocks of the bands from what is around them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from c2seg.losses.pixelwise import IGNORE_INDEX
from c2seg.methods.base import Batch, MethodContext
from c2seg.methods.supervised import Supervised
from c2seg.recipes.training import MaskedMethod

__all__ = ["Masked", "hidden_blocks", "restoration_loss"]


class Masked(Supervised):
    """One step down the mean squared error of hidden bands, on patches of the source and of the target, if there is one.

    Masked image modeling (He et al., CVPR 2022) in its simple form (SimMIM, Xie et al., CVPR 2022): hidden pixels are 0,
    the mean of a standardized band, and the network's last layer gives bands instead of classes: ``logits`` are all bands
    in the order of the modalities. Targets only say which pixels may be learnt from (255: not).
    """

    def __init__(self, context: MethodContext) -> None:
        super().__init__(context)
        assert isinstance(context.settings.method, MaskedMethod)
        self.method = context.settings.method

    def step(self, source: Batch, target: Batch | None) -> dict[str, Tensor]:
        """Take one step; returns ``loss``."""
        cities = [source] if target is None else [source, target]
        key = int(torch.randint(2**31, ()))  # of the generator that the loop seeds: the same in every process
        hidden = torch.cat([self._hidden(city, (key, stream)) for stream, city in enumerate(cities)])
        patch = {name: torch.cat([city.patch[name] for city in cities]) for name in source.patch}
        known = torch.cat([c.valid if c.targets is None else c.valid & (c.targets != IGNORE_INDEX) for c in cities])
        with self.context.autocast():
            seen = {name: values.masked_fill(hidden[:, None], 0) for name, values in patch.items()}
            restored = self.model(seen)["logits"]
        value, count = restoration_loss(restored, torch.cat(list(patch.values()), dim=1), hidden & known)
        loss = value / self.context.total(count).clamp_min(1)
        self.optimizer_step.apply(loss)
        return {"loss": loss.detach()}

    def _hidden(self, city: Batch, key: tuple[int, int]) -> Tensor:
        """Return bool [B, H, W]: what is hidden, a function of the key and the patch's place in the batch of all processes."""
        count, height, width = city.valid.shape
        processes = self.context.processes
        first = torch.distributed.get_rank() if processes > 1 else 0
        each = [
            hidden_blocks(
                height,
                width,
                self.method.ratio,
                self.method.block_px,
                np.random.default_rng((*key, first + i * processes)),
            )
            for i in range(count)
        ]
        return torch.from_numpy(np.stack(each)).to(city.valid.device)


def hidden_blocks(height: int, width: int, ratio: float, block_px: int, rng: np.random.Generator) -> np.ndarray:
    """Return bool [H, W], true in a share ``ratio`` of its blocks, at least one."""
    rows, columns = -(-height // block_px), -(-width // block_px)
    hidden = np.zeros(rows * columns, bool)
    hidden[rng.permutation(hidden.size)[: max(1, round(ratio * hidden.size))]] = True
    return hidden.reshape(rows, columns).repeat(block_px, 0).repeat(block_px, 1)[:height, :width]


def restoration_loss(restored: Tensor, bands: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum of squared errors of ``restored`` against ``bands`` [B, C, H, W] and the number of values in it.

    Values count where ``counted`` [B, H, W] is true; not those of a band that is 0 all over its patch (a blanked modality).
    """
    values = counted[:, None] & bands.flatten(2).any(dim=2)[:, :, None, None]
    return ((restored.float() - bands).square() * values).sum(), values.sum()
