"""Train on the labeled sources only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from c2seg.methods.base import Batch, MethodContext, OptimizerStep, batch_loss

__all__ = ["Supervised"]


class Supervised:
    """One step on the supervised loss. The target is not used."""

    def __init__(self, context: MethodContext) -> None:
        settings = context.settings
        self.context = context
        self.model = context.model
        self.optimizer_step = OptimizerStep(self.model.parameters(), settings.optimizer, settings.schedule, context)

    def step(self, source: Batch, target: Batch | None) -> dict[str, Tensor]:
        """Take one step; returns ``loss`` and its terms."""
        assert source.targets is not None
        with self.context.autocast():
            outputs = self.model(source.patch)
        terms = batch_loss(outputs, source, self.context)
        loss = torch.stack(list(terms.values())).sum()
        self.optimizer_step.apply(loss)
        return {"loss": loss.detach(), **{name: value.detach() for name, value in terms.items()}}

    def state_dict(self) -> dict[str, Any]:
        """Return the model's and the optimizer's state."""
        return {"model": self.model.state_dict(), "optimizer_step": self.optimizer_step.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state."""
        self.model.load_state_dict(state["model"])
        self.optimizer_step.load_state_dict(state["optimizer_step"])

    def learning_rate(self) -> float:
        """Return the learning rate of the next step."""
        return self.optimizer_step.rate()
