"""The method itself."""

from __future__ import annotations

import torch
from torch import Tensor

from c2seg.errors import InputError
from c2seg.methods import Batch, Supervised, supervised_loss


class LowEntropy(Supervised):
    """One step down the supervised loss and the entropy of what the network says of the target's valid pixels."""

    def step(self, source: Batch, target: Batch | None) -> dict[str, Tensor]:
        """Take one step; returns ``loss`` and ``entropy``."""
        if target is None or source.targets is None:
            raise InputError("low_entropy needs the target's images")
        training = self.context.settings
        with self.context.autocast():
            outputs = self.model(source.patch)
            logits = self.model(target.patch)["logits"]
        terms = supervised_loss(outputs, source.targets, training.loss, self.context)
        loss = torch.stack(list(terms.values())).sum()
        log_p = logits.float().log_softmax(dim=1)
        entropy = -(log_p.exp() * log_p).sum(dim=1)[target.valid].sum()
        entropy = entropy / self.context.total(target.valid.sum()).clamp_min(1)
        self.optimizer_step.apply(loss + training.method.weight * entropy)
        return {"loss": loss.detach(), "entropy": entropy.detach()}
