"""Learn from the sources while discriminators cannot tell the target's outputs or features from the source's.

One method covers entropy maps (ADVENT, Vu et al., CVPR 2019), class probabilities (AdaptSegNet, Tsai et al., CVPR 2018) and
features, with binary cross-entropy or least squares, one discriminator or several.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from c2seg.errors import InputError
from c2seg.methods.base import Batch, MethodContext, OptimizerStep, supervised_loss
from c2seg.models import place
from c2seg.models.discriminator import FeatureDiscriminator, PatchDiscriminator
from c2seg.recipes.training import AdversarialMethod, DiscriminatorSettings

__all__ = ["Adversarial", "self_information"]

_SOURCE, _TARGET = 0.0, 1.0


def self_information(logits: Tensor) -> Tensor:
    """Return -p log2 p / log2 K per class, [B, K, H, W], within 0 .. log2(e) / (e log2 K) (0.1394 for K = 14)."""
    log_p = logits.float().log_softmax(dim=1)
    return -log_p.exp() * log_p / log(logits.shape[1])


class Adversarial:
    """One step: the network down its supervised loss and toward deceiving the discriminators, then the discriminators.

    Invalid pixels are 0 in what the discriminators see, whose first weights are drawn from torch's generator.

    A network may carry its discriminator of features as ``discriminator``: that one is trained, apart from the network,
    whose ``forward`` is told the ``domain`` (HighDAN weighs the target's features by the discriminator's opinion).
    """

    def __init__(self, context: MethodContext) -> None:
        settings = context.settings
        assert isinstance(settings.method, AdversarialMethod)
        self.context = context
        self.model = context.model
        self.method = settings.method
        self.steps = 0
        self.own: nn.Module | None = getattr(self.model, "discriminator", None)
        self.discriminators = nn.ModuleList(self._discriminator(c) for c in self.method.discriminators)
        if self.own is not None and all(discriminator is not self.own for discriminator in self.discriminators):
            raise InputError(
                f"{type(self.model).__name__} needs a discriminator that sees features: add one to method.discriminators"
            )
        judges = {id(p) for p in self.discriminators.parameters()}
        network = (p for p in self.model.parameters() if id(p) not in judges)
        self.optimizer_step = OptimizerStep(network, settings.optimizer, settings.schedule, context)
        self.discriminator_optimizer_step = OptimizerStep(
            self.discriminators.parameters(), self.method.optimizer, settings.schedule, context
        )

    def step(self, source: Batch, target: Batch | None) -> dict[str, Tensor]:
        """Take one step; returns ``loss`` (supervised), ``deceive`` and ``discriminators``."""
        if target is None:
            raise InputError("adversarial learning needs the target's images: give `target`")
        assert source.targets is not None
        settings = self.context.settings
        found = self._outputs(source, "source")
        terms = supervised_loss(found, source.targets, settings.loss, self.context)
        loss = torch.stack(list(terms.values())).sum()
        self.steps += 1
        if self.steps <= self.method.start_after * settings.iterations:
            self.optimizer_step.apply(loss)
            zero = torch.zeros(())
            return {"loss": loss.detach(), "deceive": zero, "discriminators": zero}
        self.discriminators.requires_grad_(False)
        other = self._outputs(target, "target")
        seen = [self._seen(discriminator, other, target.valid) for discriminator in self.method.discriminators]
        deceive = torch.stack(
            [
                c.weight * self._judge(i, maps, _SOURCE)
                for i, (c, maps) in enumerate(zip(self.method.discriminators, seen, strict=True))
            ]
        ).sum()
        self.optimizer_step.apply(loss + deceive / self.context.processes)
        self.discriminators.requires_grad_(True)
        parts = []
        for i, discriminator in enumerate(self.method.discriminators):
            real = self._seen(discriminator, found, source.valid).detach()
            parts += [self._judge(i, real, _SOURCE), self._judge(i, seen[i].detach(), _TARGET)]
        judged = self.method.discriminator_scale * torch.stack(parts).sum()
        self.discriminator_optimizer_step.apply(judged / self.context.processes)
        return {"loss": loss.detach(), "deceive": deceive.detach(), "discriminators": judged.detach()}

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the model, the discriminators and both optimizers."""
        return {
            "model": self.model.state_dict(),
            "discriminators": self.discriminators.state_dict(),
            "optimizer_step": self.optimizer_step.state_dict(),
            "discriminator_optimizer_step": self.discriminator_optimizer_step.state_dict(),
            "steps": self.steps,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.model.load_state_dict(state["model"])
        self.discriminators.load_state_dict(state["discriminators"])
        self.optimizer_step.load_state_dict(state["optimizer_step"])
        self.discriminator_optimizer_step.load_state_dict(state["discriminator_optimizer_step"])
        self.steps = state["steps"]

    def learning_rate(self) -> float:
        """Return the rate of the network's next step."""
        return self.optimizer_step.rate()

    def _outputs(self, batch: Batch, domain: str) -> Mapping[str, Tensor]:
        with self.context.autocast():
            outputs: Mapping[str, Tensor] = (
                self.model(batch.patch) if self.own is None else self.model(batch.patch, domain=domain)
            )
        return outputs

    def _discriminator(self, settings: DiscriminatorSettings) -> nn.Module:
        if settings.sees == "features" and self.own is not None:
            return self.own
        if settings.sees == "features":
            discriminator: nn.Module = FeatureDiscriminator(
                int(getattr(self.model, "feature_channels", 0)) or self._no_features()
            )
        else:
            discriminator = PatchDiscriminator(self.context.num_classes, settings.widths)
        return place(discriminator, self.context.device)

    def _no_features(self) -> int:
        raise InputError(
            f"the model {type(self.model).__name__} gives no features for a discriminator; use sees: entropy or probability"
        )

    def _seen(self, discriminator: DiscriminatorSettings, outputs: Mapping[str, Tensor], valid: Tensor) -> Tensor:
        """Return what a discriminator sees, 0 where not valid."""
        if discriminator.sees == "features":
            maps = outputs["features"].float()
        else:
            logits = self._output(outputs, discriminator.output)
            maps = self_information(logits) if discriminator.sees == "entropy" else logits.float().softmax(dim=1)
        mask = valid[:, None].float()
        if mask.shape[-2:] != maps.shape[-2:]:
            mask = F.interpolate(mask, maps.shape[-2:], mode="nearest")
        return maps * mask

    def _output(self, outputs: Mapping[str, Tensor], name: str) -> Tensor:
        if name not in outputs:
            raise InputError(
                f"the model {type(self.model).__name__} has no {name!r} output; its outputs: {', '.join(outputs)}"
            )
        return outputs[name]

    def _judge(self, index: int, maps: Tensor, domain: float) -> Tensor:
        """Return the loss of one discriminator's logits against a domain."""
        with self.context.autocast():
            logits = self.discriminators[index](maps).float()
        wanted = torch.full_like(logits, domain)
        if self.method.gan_mode == "bce":
            return F.binary_cross_entropy_with_logits(logits, wanted)
        return F.mse_loss(logits, wanted)
