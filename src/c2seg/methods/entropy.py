"""Train on the sources, and on the target so that its classes are decided, in about the shares that the sources show."""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import Any

import torch
from torch import Tensor

from c2seg.errors import InputError
from c2seg.losses import IGNORE_INDEX
from c2seg.methods.base import Batch, MethodContext, batch_loss
from c2seg.methods.supervised import Supervised
from c2seg.recipes.training import EntropyMethod

__all__ = ["ConstrainedEntropy", "entropy_and_shares", "outside"]

_DECAY = 0.99
_LEAST = 1e-4


class ConstrainedEntropy(Supervised):
    """One step on the supervised loss, the entropy of the target's pixels, and a penalty on shares that are far off.

    Entropy alone is least if all pixels are of one class; shares of classes in a batch hold against it (source-relaxed domain
    adaptation, Bateson et al., MICCAI 2020). They are compared with a running mean of those of the source's patches, which are
    drawn in the same way, and may differ by a factor, ``slack``, without penalty: the target's shares are not known.
    """

    def __init__(self, context: MethodContext) -> None:
        super().__init__(context)
        assert isinstance(context.settings.method, EntropyMethod)
        self.method = context.settings.method
        self.shares = torch.zeros(context.num_classes - context.background, device=context.device)
        self.steps = 0

    def step(self, source: Batch, target: Batch | None) -> dict[str, Tensor]:
        """Take one step; returns ``loss`` and its terms."""
        if target is None or source.targets is None:
            raise InputError("entropy of the target needs the target's images: give `target`")
        self._count(source.targets[: source.of_source])
        with self.context.autocast():
            outputs = self.model(source.patch)
            logits = self.model(target.patch)["logits"]
        terms = batch_loss(outputs, source, self.context)
        count = self.context.total(target.valid.sum().float()).clamp_min(1)
        entropy, sums = entropy_and_shares(logits[:, : len(self.shares)].float(), target.valid)
        terms["entropy"] = self.method.weight * entropy / count
        # Of this process's patches: a sum over all would need gradients through it.
        mean = sums / target.valid.sum().clamp_min(1)
        terms["shares"] = (
            self.method.share_weight * outside(mean, self.shares, self.method.slack) / self.context.processes
        )
        loss = torch.stack(list(terms.values())).sum()
        self.optimizer_step.apply(loss)
        return {"loss": loss.detach(), **{name: value.detach() for name, value in terms.items()}}

    def _count(self, labels: Tensor) -> None:
        """Renew the running mean of the source's shares."""
        known = labels[(labels != IGNORE_INDEX) & (labels < len(self.shares))]
        counts = self.context.total(torch.bincount(known, minlength=len(self.shares)).float())
        if counts.sum() == 0:
            return
        decay = min(1 - 1 / (self.steps + 1), _DECAY)
        self.shares = decay * self.shares + (1 - decay) * counts / counts.sum()
        self.steps += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the state of network and optimizer, and the shares."""
        return {**super().state_dict(), "shares": self.shares, "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state."""
        super().load_state_dict(state)
        self.shares = state["shares"].to(self.context.device)
        self.steps = int(state["steps"])


def entropy_and_shares(logits: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums of entropies (0..1) and of probabilities [K] over valid pixels [B, H, W] of logits [B, K, H, W]."""
    logs = logits.log_softmax(dim=1)
    chance = logs.exp()
    entropy = -(chance * logs).sum(dim=1) / log(max(2, logits.shape[1]))
    return (entropy * valid).sum(), (chance * valid[:, None]).sum(dim=(0, 2, 3))


def outside(mean: Tensor, shares: Tensor, slack: float) -> Tensor:
    """Return how far shares [K] lie outside of shares / slack .. shares * slack: the sum of squared logarithms of the ratio.

    Classes with less than 1e-4 in ``shares`` are not compared.
    """
    compared = shares > _LEAST
    ratio = (mean[compared].clamp_min(1e-8).log() - shares[compared].log()).abs() - log(slack)
    return ratio.clamp_min(0).square().sum()
