"""Shared by all training methods: batches, their interface, and optimizer steps for one process or several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from c2seg.errors import InputError
from c2seg.losses import cross_entropy, dice_loss, generalized_cross_entropy, plugin_loss
from c2seg.recipes.training import Loss, Optimizer, Schedule, Training

__all__ = ["Accumulation", "Batch", "MethodContext", "OptimizerStep", "TrainingMethod", "batch_loss", "supervised_loss"]

PixelwiseLoss = Callable[[Tensor, Tensor, Tensor | None, float], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Batch:
    """Float32 [B, C, H, W] by modality, valid bool [B, H, W], targets int64 [B, H, W] (255 = no label) or None."""

    patch: Mapping[str, Tensor]
    valid: Tensor
    targets: Tensor | None = None
    of_target: int = 0
    """The last so many patches of a batch of the sources show the target around its few labels, in runs that have some."""

    @property
    def of_source(self) -> int:
        """How many patches show sources: the first ones."""
        return len(self.valid) - self.of_target

    def parts(self, count: int) -> list[Batch]:
        """Return ``count`` batches of every ``count``-th patch each, before patches around labels of the target join."""
        assert not self.of_target
        return [
            Batch(
                {name: values[part::count] for name, values in self.patch.items()},
                self.valid[part::count],
                None if self.targets is None else self.targets[part::count],
            )
            for part in range(count)
        ]

    def with_labeled(self, labeled: Batch) -> Batch:
        """Return this batch of the sources, followed by patches around labels of the target."""
        assert self.targets is not None
        assert labeled.targets is not None
        return Batch(
            {name: torch.cat([values, labeled.patch[name]]) for name, values in self.patch.items()},
            torch.cat([self.valid, labeled.valid]),
            torch.cat([self.targets, labeled.targets]),
            len(labeled.valid),
        )


@dataclass
class Accumulation:
    """Which part of a batch is computed (``part``, from 0), and of how many. Optimizers step with the last one."""

    count: int = 1
    part: int = 0

    @property
    def is_first(self) -> bool:
        """True for the first part."""
        return self.part == 0

    @property
    def is_last(self) -> bool:
        """True for the last part."""
        return self.part == self.count - 1


@dataclass(frozen=True)
class MethodContext:
    """The inputs that a training method is built from. ``processes``: their number under ``torchrun``, 1 without it."""

    model: nn.Module
    settings: Training
    num_classes: int
    """Outputs of the model, including that of the background."""
    class_weights: Tensor | None
    device: torch.device
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext
    """Mixed precision of the forward pass."""
    processes: int = 1
    background: bool = False
    """True if the last output is the background, which is not a class."""
    labels_weight: float = 0.5
    """Share of the target's few labels in the supervised loss, in runs that have some."""
    accumulation: Accumulation = field(default_factory=Accumulation)
    """Where in a batch of several parts the step is."""

    def total(self, value: Tensor) -> Tensor:
        """Return the sum of a scalar over all processes, without gradient."""
        value = value.detach().clone()
        if self.processes > 1:
            torch.distributed.all_reduce(value)
        return value


class TrainingMethod(Protocol):
    """A training method. It has its optimizers; the training loop gives it batches and saves its state."""

    model: nn.Module
    """The network that predicts after training."""

    def step(self, source: Batch, target: Batch | None) -> dict[str, Tensor]:
        """Train on one batch of each city and return losses by name (``loss`` is monitored and must be finite).

        A batch may come in parts, one call for each (``context.accumulation``): ``OptimizerStep`` steps with the last.
        """

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step depends on, as tensors and plain values."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state."""

    def learning_rate(self) -> float:
        """Return the learning rate of the next step."""


class OptimizerStep:
    """An optimizer with its schedule: backward, gradients summed over processes, clipping, step.

    Gradients are summed over processes, not averaged: losses are already divided by totals over all processes.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], optimizer: Optimizer, schedule: Schedule, context: MethodContext
    ) -> None:
        self.parameters = [p for p in parameters if p.requires_grad]
        self.clip = optimizer.gradient_clip
        self.processes = context.processes
        self.accumulation = context.accumulation
        self.optimizer = _optimizer(_groups(self.parameters, optimizer, context.model), optimizer)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, _factor(schedule, context.settings.iterations)
        )
        self.scaler = torch.amp.GradScaler(context.device.type, enabled=context.settings.precision == "16")

    def apply(self, loss: Tensor) -> None:
        """Take one step on a loss; of a batch in parts, on the mean of their losses, with the last part."""
        if self.accumulation.is_first:
            self.optimizer.zero_grad(set_to_none=True)
        if self.accumulation.count > 1:
            loss = loss / self.accumulation.count
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if not self.accumulation.is_last:
            return
        if self.processes > 1:
            for parameter in self.parameters:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                torch.distributed.all_reduce(parameter.grad)
        self.scaler.unscale_(self.optimizer)
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.scheduler.step()

    def rate(self) -> float:
        """Return the current learning rate."""
        return float(self.optimizer.param_groups[0]["lr"])

    def state_dict(self) -> dict[str, Any]:
        """Return the state of optimizer, schedule and loss scale."""
        # The schedule is a function of its step count; LambdaLR would also save the function.
        return {
            "optimizer": self.optimizer.state_dict(),
            "steps": self.scheduler.last_epoch,
            "scaler": self.scaler.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.last_epoch = state["steps"]
        if state["scaler"]:
            self.scaler.load_state_dict(dict(state["scaler"]))


def batch_loss(outputs: Mapping[str, Tensor], batch: Batch, context: MethodContext) -> dict[str, Tensor]:
    """Return the terms of ``supervised_loss`` of a batch of the sources.

    The target's few labels, if the batch shows some, are a term of their own, ``labels``: their few pixels would vanish in a
    mean over all. The terms of the sources then have the rest of the weight.
    """
    assert batch.targets is not None
    settings, first = context.settings.loss, batch.of_source
    if not batch.of_target:
        return supervised_loss(outputs, batch.targets, settings, context)
    scored = {name: outputs[name] for name in ("logits", "aux") if name in outputs}
    of_source = {name: values[:first] for name, values in scored.items()}
    of_target = {name: values[first:] for name, values in scored.items()}
    terms = supervised_loss(of_source, batch.targets[:first], settings, context)
    labels = torch.stack(list(supervised_loss(of_target, batch.targets[first:], settings, context).values())).sum()
    weight = context.labels_weight
    return {name: (1 - weight) * value for name, value in terms.items()} | {"labels": weight * labels}


def supervised_loss(
    outputs: Mapping[str, Tensor], targets: Tensor, settings: Loss, context: MethodContext
) -> dict[str, Tensor]:
    """Return the weighted terms of the supervised loss of a network's outputs, including ``aux`` if its weight is not 0.

    Their sum, summed over processes, is the loss. Raises InputError for a weight on an output that does not exist.
    """
    terms = _terms(outputs["logits"], targets, settings, context)
    if settings.aux:
        if "aux" not in outputs:
            raise InputError(f"loss.aux: the model {type(context.model).__name__} has no aux output; set loss.aux=0")
        terms["aux"] = (
            settings.aux * torch.stack(list(_terms(outputs["aux"], targets, settings, context).values())).sum()
        )
    return terms


def _terms(logits: Tensor, targets: Tensor, settings: Loss, context: MethodContext) -> dict[str, Tensor]:
    """Return the terms of one output.

    Pixelwise terms are divided by the total weight of the labeled pixels over all processes. Dice is not a sum over pixels:
    it is computed per process and averaged.
    """
    terms: dict[str, Tensor] = {}
    pixelwise: dict[str, tuple[float, PixelwiseLoss, float]] = {
        "cross_entropy": (settings.cross_entropy, cross_entropy, settings.label_smoothing),
        "gce": (settings.gce, generalized_cross_entropy, settings.gce_q),
    }
    for name, (weight, loss, parameter) in pixelwise.items():
        if weight:
            value, count = loss(logits, targets, context.class_weights, parameter)
            terms[name] = weight * value / context.total(count).clamp_min(1e-6)
    if settings.dice:
        classes = context.num_classes - context.background
        terms["dice"] = settings.dice * dice_loss(logits, targets, settings.dice_kind, classes) / context.processes
    for name, term in settings.terms.items():
        if term.weight:
            value, count = plugin_loss(logits, targets, context.class_weights, term)
            terms[name] = term.weight * value / context.total(count).clamp_min(1e-6)
    return terms


def _groups(parameters: list[nn.Parameter], settings: Optimizer, model: nn.Module) -> list[dict[str, Any]]:
    """Return the parameter groups; the network's encoder may have a different learning rate."""
    if settings.encoder_factor == 1:
        return [{"params": parameters}]
    encoder = getattr(model, "encoder", None)
    if not isinstance(encoder, nn.Module):
        raise InputError(f"optimizer.encoder_factor: the model {type(model).__name__} has no encoder; set it to 1")
    in_encoder = {id(p) for p in encoder.parameters()}
    others = [p for p in parameters if id(p) not in in_encoder]
    pretrained = [p for p in parameters if id(p) in in_encoder]
    return [{"params": others}, {"params": pretrained, "lr": settings.encoder_factor * settings.lr}]


def _optimizer(parameters: list[dict[str, Any]], settings: Optimizer) -> torch.optim.Optimizer:
    if settings.name == "sgd":
        return torch.optim.SGD(parameters, settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay)
    kind = torch.optim.AdamW if settings.name == "adamw" else torch.optim.Adam
    return kind(parameters, settings.lr, betas=(settings.momentum, settings.beta2), weight_decay=settings.weight_decay)


def _factor(settings: Schedule, iterations: int) -> Callable[[int], float]:
    """Return the factor of the learning rate by step.

    ``one_cycle``: from 1/25 to 1 over the first 30 % and down to 4e-6, both as half cosines (Smith and Topin 2019).
    ``poly``: (1 - t)^power. ``cosine``: half a cosine to 0. ``step``: multiplied by ``factor`` every ``every`` steps.
    ``constant``: 1.
    """
    from math import cos, pi

    def between(low: float, high: float, t: float) -> float:
        return low + (high - low) * (1 - cos(pi * t)) / 2

    def factor(step: int) -> float:
        t = min(step / iterations, 1.0)
        if settings.name == "one_cycle":
            return between(0.04, 1.0, t / 0.3) if t < 0.3 else between(1.0, 4e-6, (t - 0.3) / 0.7)
        shape: float = {
            "poly": (1 - t) ** settings.power,
            "cosine": (1 + cos(pi * t)) / 2,
            "step": settings.factor ** (step // settings.every),
            "constant": 1.0,
        }[settings.name]
        return shape * min(1.0, (t + 1 / iterations) / settings.warmup) if settings.warmup else shape

    return factor
