"""Learn from the sources while critics cannot tell the target's outputs or features from the source's.

One method covers entropy maps (ADVENT, Vu et al., CVPR 2019), class probabilities (AdaptSegNet, Tsai et al., CVPR 2018) and
features, with binary cross-entropy or least squares, one critic or several.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from c2seg.errors import InputError
from c2seg.methods.base import Batch, Context, Stepper, supervised_loss
from c2seg.models import place
from c2seg.models.discriminator import FeatureDiscriminator, PatchDiscriminator
from c2seg.recipes.training import AdversarialMethod, Critic

__all__ = ["Adversarial", "self_information"]

_SOURCE, _TARGET = 0.0, 1.0


def self_information(logits: Tensor) -> Tensor:
    """Return -p log2 p / log2 K per class, [B, K, H, W], within 0 .. log2(e) / (e log2 K) (0.1394 for K = 14)."""
    log_p = logits.float().log_softmax(dim=1)
    return -log_p.exp() * log_p / log(logits.shape[1])


class Adversarial:
    """One step: the network down its supervised loss and toward deceiving the critics, then the critics.

    Pixels that are not valid are 0 in what the critics see. The critics' networks are drawn from torch's generator.

    A network may carry its critic of features as ``critic``: then that one is trained, as a critic and not with the network,
    whose ``forward`` is told the ``domain`` (HighDAN weighs the target's features by the critic's opinion).
    """

    def __init__(self, context: Context) -> None:
        settings = context.settings
        assert isinstance(settings.method, AdversarialMethod)
        self.context = context
        self.model = context.model
        self.method = settings.method
        self.steps = 0
        self.own: nn.Module | None = getattr(self.model, "critic", None)
        self.critics = nn.ModuleList(self._critic(c) for c in self.method.critics)
        if self.own is not None and all(critic is not self.own for critic in self.critics):
            raise InputError(
                f"{type(self.model).__name__} needs a critic that sees features: add one to method.critics"
            )
        judges = {id(p) for p in self.critics.parameters()}
        network = (p for p in self.model.parameters() if id(p) not in judges)
        self.stepper = Stepper(network, settings.optimizer, settings.schedule, context)
        self.critic_stepper = Stepper(self.critics.parameters(), self.method.optimizer, settings.schedule, context)

    def step(self, source: Batch, target: Batch | None) -> dict[str, Tensor]:
        """Take one step; returns ``loss`` (supervised), ``deceive`` and ``critics``."""
        if target is None:
            raise InputError("adversarial learning needs the target's images: give --target")
        assert source.targets is not None
        settings = self.context.settings
        found = self._outputs(source, "source")
        terms = supervised_loss(found, source.targets, settings.loss, self.context)
        loss = torch.stack(list(terms.values())).sum()
        self.steps += 1
        if self.steps <= self.method.begin * settings.iterations:
            self.stepper.apply(loss)
            zero = torch.zeros(())
            return {"loss": loss.detach(), "deceive": zero, "critics": zero}
        self.critics.requires_grad_(False)
        other = self._outputs(target, "target")
        seen = [self._seen(critic, other, target.valid) for critic in self.method.critics]
        deceive = torch.stack(
            [
                c.weight * self._judge(i, maps, _SOURCE)
                for i, (c, maps) in enumerate(zip(self.method.critics, seen, strict=True))
            ]
        ).sum()
        self.stepper.apply(loss + deceive / self.context.processes)
        self.critics.requires_grad_(True)
        parts = []
        for i, critic in enumerate(self.method.critics):
            real = self._seen(critic, found, source.valid).detach()
            parts += [self._judge(i, real, _SOURCE), self._judge(i, seen[i].detach(), _TARGET)]
        judged = self.method.critic_scale * torch.stack(parts).sum()
        self.critic_stepper.apply(judged / self.context.processes)
        return {"loss": loss.detach(), "deceive": deceive.detach(), "critics": judged.detach()}

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the model, the critics and both optimizers."""
        return {
            "model": self.model.state_dict(),
            "critics": self.critics.state_dict(),
            "stepper": self.stepper.state_dict(),
            "critic_stepper": self.critic_stepper.state_dict(),
            "steps": self.steps,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.model.load_state_dict(state["model"])
        self.critics.load_state_dict(state["critics"])
        self.stepper.load_state_dict(state["stepper"])
        self.critic_stepper.load_state_dict(state["critic_stepper"])
        self.steps = state["steps"]

    def learning_rate(self) -> float:
        """Return the rate of the network's next step."""
        return self.stepper.rate()

    def _outputs(self, batch: Batch, domain: str) -> Mapping[str, Tensor]:
        with self.context.autocast():
            outputs: Mapping[str, Tensor] = (
                self.model(batch.patch) if self.own is None else self.model(batch.patch, domain=domain)
            )
        return outputs

    def _critic(self, settings: Critic) -> nn.Module:
        if settings.sees == "features" and self.own is not None:
            return self.own
        if settings.sees == "features":
            critic: nn.Module = FeatureDiscriminator(
                int(getattr(self.model, "feature_channels", 0)) or self._no_features()
            )
        else:
            critic = PatchDiscriminator(self.context.num_classes, settings.widths)
        return place(critic, self.context.device)

    def _no_features(self) -> int:
        raise InputError(
            f"the model {type(self.model).__name__} gives no features for a critic; use sees: entropy or probability"
        )

    def _seen(self, critic: Critic, outputs: Mapping[str, Tensor], valid: Tensor) -> Tensor:
        """Return what a critic sees, 0 where not valid."""
        if critic.sees == "features":
            maps = outputs["features"].float()
        else:
            logits = self._output(outputs, critic.output)
            maps = self_information(logits) if critic.sees == "entropy" else logits.float().softmax(dim=1)
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
        """Return the loss of one critic's logits against a domain."""
        with self.context.autocast():
            logits = self.critics[index](maps).float()
        wanted = torch.full_like(logits, domain)
        if self.method.objective == "bce":
            return F.binary_cross_entropy_with_logits(logits, wanted)
        return F.mse_loss(logits, wanted)
