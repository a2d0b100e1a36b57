"""Masked pretraining, without labels: reconstruct masked blocks of the bands from the pixels around them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from c2seg.losses.pixelwise import IGNORE_INDEX
from c2seg.methods.base import Batch, MethodContext
from c2seg.methods.supervised import Supervised
from c2seg.recipes.training import MaskedMethod

__all__ = ["Masked", "random_block_mask", "reconstruction_loss"]


class Masked(Supervised):
    """One step on the mean squared error of masked pixels, in patches of the source and of the target if there is one.

    Masked image modeling (He et al., CVPR 2022) in its simple form (SimMIM, Xie et al., CVPR 2022). Masked pixels are 0, the
    mean of a standardized band. The network's last layer returns bands instead of classes: ``logits`` are all bands in the
    order of the modalities. ``targets`` only mark pixels that must not be used for training (255).
    """

    def __init__(self, context: MethodContext) -> None:
        super().__init__(context)
        assert isinstance(context.settings.method, MaskedMethod)
        self.method = context.settings.method

    def step(self, source: Batch, target: Batch | None) -> dict[str, Tensor]:
        """Take one step; returns ``loss``."""
        cities = [source] if target is None else [source, target]
        key = int(torch.randint(2**31, ()))  # from the generator that the loop seeds: the same in every process
        masks = torch.cat([self._masks(city, (key, stream)) for stream, city in enumerate(cities)])
        patch = {name: torch.cat([city.patch[name] for city in cities]) for name in source.patch}
        trainable = torch.cat([c.valid if c.targets is None else c.valid & (c.targets != IGNORE_INDEX) for c in cities])
        with self.context.autocast():
            masked = {name: values.masked_fill(masks[:, None], 0) for name, values in patch.items()}
            reconstructed = self.model(masked)["logits"]
        value, count = reconstruction_loss(reconstructed, torch.cat(list(patch.values()), dim=1), masks & trainable)
        loss = value / self.context.total(count).clamp_min(1)
        self.optimizer_step.apply(loss)
        return {"loss": loss.detach()}

    def _masks(self, city: Batch, key: tuple[int, int]) -> Tensor:
        """Return bool [B, H, W], true where masked: a function of the key and the patch's index over all processes."""
        count, height, width = city.valid.shape
        processes = self.context.processes
        first = torch.distributed.get_rank() if processes > 1 else 0
        masks = [
            random_block_mask(
                height,
                width,
                self.method.ratio,
                self.method.block_px,
                np.random.default_rng((*key, first + i * processes)),
            )
            for i in range(count)
        ]
        return torch.from_numpy(np.stack(masks)).to(city.valid.device)


def random_block_mask(height: int, width: int, ratio: float, block_px: int, rng: np.random.Generator) -> np.ndarray:
    """Return bool [H, W], true in a fraction ``ratio`` of the blocks, at least one."""
    rows, columns = -(-height // block_px), -(-width // block_px)
    masked = np.zeros(rows * columns, bool)
    masked[rng.permutation(masked.size)[: max(1, round(ratio * masked.size))]] = True
    return masked.reshape(rows, columns).repeat(block_px, 0).repeat(block_px, 1)[:height, :width]


def reconstruction_loss(reconstructed: Tensor, bands: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum of squared errors of ``reconstructed`` against ``bands`` [B, C, H, W], and the number of values in it.

    Values count where ``counted`` [B, H, W] is true. Bands that are 0 all over a patch (a dropped modality) do not count.
    """
    values = counted[:, None] & bands.flatten(2).any(dim=2)[:, :, None, None]
    return ((reconstructed.float() - bands).square() * values).sum(), values.sum()
