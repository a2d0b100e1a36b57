"""The contract of training methods."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from c2seg.errors import C2SegError
from c2seg.losses import IGNORE_INDEX
from c2seg.methods import METHODS, Batch, MethodContext, TrainingMethod, build_method
from c2seg.models import build_model
from c2seg.recipes import MethodSettings, ModelSettings
from c2seg.recipes.models import UNetModel
from c2seg.recipes.training import Optimizer, Schedule, Training
from c2seg.testing.expect import check_settings, expect
from c2seg.train.plain import from_plain, to_plain

__all__ = ["METHOD_CHECKS", "MethodCase", "check_method"]

_BANDS = {"msi": 4, "sar": 2}
_CLASSES = 3
_SIDE = 32


@dataclass(frozen=True)
class MethodCase:
    """A method with a small network.

    ``restores``: the network returns bands instead of classes. ``pseudo_labels``: the target has labels that were predicted.
    """

    settings: MethodSettings
    model: ModelSettings = UNetModel(widths=(8, 8))  # noqa: RUF009 (frozen)
    restores: bool = False
    pseudo_labels: bool = False

    def build(self, seed: int = 0) -> TrainingMethod:
        """Return the method with a network that is initialized from a seed."""
        torch.manual_seed(seed)
        outputs = sum(_BANDS.values()) if self.restores else _CLASSES
        network = build_model(self.model, _BANDS, outputs).train()
        training = Training(
            method=self.settings, iterations=20, optimizer=Optimizer(lr=0.01), schedule=Schedule(name="constant")
        )
        return build_method(MethodContext(network, training, outputs, None, torch.device("cpu")))

    def steps(self, method: TrainingMethod, first: int, last: int, *, target_seed: int | None = 1) -> list[Tensor]:
        """Take steps, each with its seed, as training does; return the losses. ``target_seed=None``: no target."""
        losses = []
        for step in range(first, last):
            source = _batch(2 * step, labels=True)
            target = None if target_seed is None else _batch(target_seed + 2 * step, labels=self.pseudo_labels)
            torch.manual_seed(step)
            losses.append(method.step(source, target)["loss"])
        return losses


def check_method(
    settings: MethodSettings,
    *,
    model: ModelSettings = UNetModel(widths=(8, 8)),  # noqa: B008 (frozen)
    restores: bool = False,
    pseudo_labels: bool = False,
) -> None:
    """Check a training method against the contract, with a small network; see ``MethodCase``. Raises AssertionError."""
    case = MethodCase(settings, model, restores, pseudo_labels)
    for check in METHOD_CHECKS:
        check(case)


def settings_are_read_back(case: MethodCase) -> None:
    """Settings survive a recipe; those of a plug-in are found by name, without torch."""
    check_settings(case.settings)
    ours = type(case.settings).__module__.startswith("c2seg.")
    expect(ours or case.settings.name not in METHODS, f"{case.settings.name!r} is the name of a method of c2seg")


def a_step_trains(case: MethodCase) -> None:
    """A step gives finite scalars, ``loss`` among them, and changes the network."""
    method = case.build()
    before = _weights(method)
    losses = method.step(_batch(0, labels=True), _batch(1, labels=case.pseudo_labels))
    expect("loss" in losses, f"step gives {', '.join(losses)}, but no loss")
    wrong = [
        name for name, value in losses.items() if value.numel() != 1 or not value.isfinite() or value.requires_grad
    ]
    expect(not wrong, f"not a finite scalar without gradient: {', '.join(wrong)}")
    expect(not _equal(before, _weights(method)), "a step changes no weight")
    expect(method.learning_rate() > 0, f"the learning rate is {method.learning_rate()}")


def it_resumes_bit_identical(case: MethodCase) -> None:
    """A method that loads a state continues as the one that was stopped; its state holds tensors and plain values."""
    whole = case.build()
    case.steps(whole, 0, 2)
    tensors: dict[str, Tensor] = {}
    text = json.dumps(to_plain(whole.state_dict(), tensors))
    case.steps(whole, 2, 4)
    resumed = case.build(seed=9)
    resumed.load_state_dict(from_plain(json.loads(text), tensors))
    case.steps(resumed, 2, 4)
    expect(_equal(_weights(whole), _weights(resumed)), "two steps after a state was loaded, the weights differ")
    expect(whole.learning_rate() == resumed.learning_rate(), "after a state was loaded, the learning rate differs")


def the_same_seed_gives_the_same_weights(case: MethodCase) -> None:
    """All random numbers come from torch's generator, which training seeds before every step."""
    first, second = case.build(), case.build()
    case.steps(first, 0, 2)
    torch.rand(7)
    case.steps(second, 0, 2)
    expect(_equal(_weights(first), _weights(second)), "the same seed gives different weights")


def it_uses_the_target_as_stated(case: MethodCase) -> None:
    """``uses_target`` and ``needs_target`` are correct: they decide which cities are opened and recorded."""
    first, second, alone = case.build(), case.build(), case.build()
    case.steps(first, 0, 3)
    case.steps(second, 0, 3, target_seed=1001)
    same = _equal(_weights(first), _weights(second))
    uses, needs = case.settings.uses_target, case.settings.needs_target
    expect(
        same != uses, f"uses_target is {uses}, but the target's images change {'nothing' if same else 'the weights'}"
    )
    try:
        case.steps(alone, 0, 1, target_seed=None)
    except C2SegError as error:
        expect(needs, f"needs_target is false, but without a target: {error}")
    else:
        expect(not needs, "needs_target is true, but a step without a target raises no error")


def pixels_without_label_are_no_error(case: MethodCase) -> None:
    """A batch without any label gives finite losses and weights."""
    method = case.build()
    source = _batch(0, labels=True)
    assert source.targets is not None
    bare = Batch(source.patch, source.valid, torch.full_like(source.targets, IGNORE_INDEX))
    losses = method.step(bare, _batch(1, labels=case.pseudo_labels))
    expect(bool(losses["loss"].isfinite()), "the loss of a batch without labels is not finite")
    expect(all(bool(value.isfinite().all()) for value in _weights(method).values()), "weights are not finite")


METHOD_CHECKS: tuple[Callable[[MethodCase], None], ...] = (
    settings_are_read_back,
    a_step_trains,
    it_resumes_bit_identical,
    the_same_seed_gives_the_same_weights,
    it_uses_the_target_as_stated,
    pixels_without_label_are_no_error,
)
"""The contract of training methods, one function per requirement, for parametrized tests."""


def _batch(seed: int, *, labels: bool) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    patch = {name: torch.randn(2, count, _SIDE, _SIDE, generator=generator) for name, count in _BANDS.items()}
    targets = torch.randint(0, _CLASSES, (2, _SIDE, _SIDE), generator=generator)
    targets[:, :4] = IGNORE_INDEX
    return Batch(patch, torch.ones(2, _SIDE, _SIDE, dtype=torch.bool), targets if labels else None)


def _weights(method: TrainingMethod) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in method.model.state_dict().items()}


def _equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(value, second[name]) for name, value in first.items())
