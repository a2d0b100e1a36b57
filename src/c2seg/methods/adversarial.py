"""Train on the sources so that discriminators cannot tell outputs or features of the target from those of the source.

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
from c2seg.methods.base import Batch, MethodContext, OptimizerStep, batch_loss
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
    """One step trains the network with its supervised and adversarial losses, then the discriminators.

    Invalid pixels are 0 in the inputs of the discriminators. Their initial weights are drawn from torch's generator.

    A network may have a feature discriminator as ``discriminator``. It is trained as a discriminator, not with the network,
    and ``forward`` then takes ``domain``. (HighDAN weights the features of the target by the discriminator's output.)
    """

    def __init__(self, context: MethodContext) -> None:
        settings = context.settings
        assert isinstance(settings.method, AdversarialMethod)
        self.context = context
        self.model = context.model
        self.method = settings.method
        self.steps = 0
        self.model_discriminator: nn.Module | None = getattr(self.model, "discriminator", None)
        self.discriminators = nn.ModuleList(self._discriminator(c) for c in self.method.discriminators)
        if self.model_discriminator is not None and all(
            discriminator is not self.model_discriminator for discriminator in self.discriminators
        ):
            raise InputError(
                f"{type(self.model).__name__} needs a discriminator that sees features: add one to method.discriminators"
            )
        apart = {id(p) for p in self.discriminators.parameters()}
        network = (p for p in self.model.parameters() if id(p) not in apart)
        self.optimizer_step = OptimizerStep(network, settings.optimizer, settings.schedule, context)
        self.discriminator_optimizer_step = OptimizerStep(
            self.discriminators.parameters(), self.method.optimizer, settings.schedule, context
        )

    def step(self, source: Batch, target: Batch | None) -> dict[str, Tensor]:
        """Take one step; returns ``loss`` (supervised), ``adversarial`` and ``discriminators``."""
        if target is None:
            raise InputError("adversarial training needs the target's images: give `target`")
        assert source.targets is not None
        settings = self.context.settings
        source_outputs = self._outputs(source, "source")
        terms = batch_loss(source_outputs, source, self.context)
        loss = torch.stack(list(terms.values())).sum()
        self.steps += self.context.accumulation.is_first
        if self.steps <= self.method.start_after * settings.iterations:
            self.optimizer_step.apply(loss)
            zero = torch.zeros(())
            return {"loss": loss.detach(), "adversarial": zero, "discriminators": zero}
        self.discriminators.requires_grad_(False)
        target_outputs = self._outputs(target, "target")
        fake = [
            self._input(discriminator, target_outputs, target.valid) for discriminator in self.method.discriminators
        ]
        adversarial = torch.stack(
            [
                discriminator.weight * self._domain_loss(i, maps, _SOURCE)
                for i, (discriminator, maps) in enumerate(zip(self.method.discriminators, fake, strict=True))
            ]
        ).sum()
        self.optimizer_step.apply(loss + adversarial / self.context.processes)
        self.discriminators.requires_grad_(True)
        parts = []
        of_source = {name: values[: source.of_source] for name, values in source_outputs.items()}
        for i, discriminator in enumerate(self.method.discriminators):
            real = self._input(discriminator, of_source, source.valid[: source.of_source]).detach()
            parts += [self._domain_loss(i, real, _SOURCE), self._domain_loss(i, fake[i].detach(), _TARGET)]
        discriminators = self.method.discriminator_scale * torch.stack(parts).sum()
        self.discriminator_optimizer_step.apply(discriminators / self.context.processes)
        return {
            "loss": loss.detach(),
            "adversarial": adversarial.detach(),
            "discriminators": discriminators.detach(),
        }

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
        """Restore a state."""
        self.model.load_state_dict(state["model"])
        self.discriminators.load_state_dict(state["discriminators"])
        self.optimizer_step.load_state_dict(state["optimizer_step"])
        self.discriminator_optimizer_step.load_state_dict(state["discriminator_optimizer_step"])
        self.steps = state["steps"]

    def learning_rate(self) -> float:
        """Return the learning rate of the network's next step."""
        return self.optimizer_step.rate()

    def _outputs(self, batch: Batch, domain: str) -> Mapping[str, Tensor]:
        with self.context.autocast():
            outputs: Mapping[str, Tensor] = (
                self.model(batch.patch) if self.model_discriminator is None else self.model(batch.patch, domain=domain)
            )
        return outputs

    def _discriminator(self, settings: DiscriminatorSettings) -> nn.Module:
        if settings.sees == "features" and self.model_discriminator is not None:
            return self.model_discriminator
        if settings.sees == "features":
            discriminator: nn.Module = FeatureDiscriminator(
                int(getattr(self.model, "feature_channels", 0)) or self._no_features()
            )
        else:
            discriminator = PatchDiscriminator(self.context.num_classes, settings.widths)
        return place(discriminator, self.context.device)

    def _no_features(self) -> int:
        raise InputError(
            f"the model {type(self.model).__name__} returns no features for a discriminator; use sees: entropy or probability"
        )

    def _input(self, discriminator: DiscriminatorSettings, outputs: Mapping[str, Tensor], valid: Tensor) -> Tensor:
        """Return the input of a discriminator, 0 where not valid."""
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

    def _domain_loss(self, index: int, maps: Tensor, domain: float) -> Tensor:
        """Return the loss of one discriminator's logits with the domain as label."""
        with self.context.autocast():
            logits = self.discriminators[index](maps).float()
        labels = torch.full_like(logits, domain)
        if self.method.gan_mode == "bce":
            return F.binary_cross_entropy_with_logits(logits, labels)
        return F.mse_loss(logits, labels)
