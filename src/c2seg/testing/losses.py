"""The contract of losses."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite

import torch
from torch import Tensor

from c2seg.losses import IGNORE_INDEX, plugin_loss
from c2seg.recipes import LossSettings
from c2seg.testing.expect import check_settings, expect

__all__ = ["check_loss"]

Compute = Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor]]

_CLASSES = 4


def check_loss(settings: LossSettings | Compute, *, sees_unlabeled: bool = False) -> None:
    """Check a loss against the contract: settings of a plug-in, or a function of logits, targets and weights.

    ``sees_unlabeled``: pixels without a label count by design. Raises AssertionError.
    """
    if isinstance(settings, LossSettings):
        check_settings(settings)
        term = settings
        compute: Compute = lambda logits, targets, weights: plugin_loss(logits, targets, weights, term)  # noqa: E731
    else:
        compute = settings
    _check_values(compute)
    _check_unlabeled(compute, sees_unlabeled=sees_unlabeled)


def _check_values(compute: Compute) -> None:
    logits, targets = _case()
    weights = torch.tensor([0.5, 1.0, 1.5, 1.0])
    for given in (None, weights):
        leaf = logits.clone().requires_grad_()
        value, count = compute(leaf, targets, given)
        expect(value.ndim == count.ndim == 0, "a loss is two scalars: a sum and its divisor")
        total, divisor = float(value.detach()), float(count)
        expect(isfinite(total) and divisor > 0, f"the sum is {total}, the divisor {divisor}")
        (gradient,) = torch.autograd.grad(value, leaf)
        expect(bool(gradient.isfinite().all()), "the gradient is not finite")
        expect(bool(gradient.abs().sum() > 0), "the logits get no gradient")
        again, _ = compute(logits, targets, given)
        expect(float(again) == total, "the same logits give a different loss")
    labels = targets.where(targets != IGNORE_INDEX, 0)
    correct = 20.0 * torch.nn.functional.one_hot(labels, _CLASSES).movedim(-1, 1).float()
    better, worse = (_mean(compute(case, targets, None)) for case in (correct, correct.roll(1, dims=1)))
    expect(better < worse, f"correct logits have a loss of {better:.3g}, wrong ones of {worse:.3g}")


def _check_unlabeled(compute: Compute, *, sees_unlabeled: bool) -> None:
    logits, targets = _case()
    leaf = logits.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(compute(leaf, targets, None)[0], leaf)
    unlabeled = (targets == IGNORE_INDEX)[:, None].expand_as(gradient)
    touched = bool((gradient[unlabeled] != 0).any())
    expect(sees_unlabeled or not touched, "pixels without a label (255) get a gradient")
    leaf = logits.clone().requires_grad_()
    value, count = compute(leaf, torch.full_like(targets, IGNORE_INDEX), None)
    (gradient,) = torch.autograd.grad(value, leaf, allow_unused=True)
    finite = bool(value.isfinite()) and (gradient is None or bool(gradient.isfinite().all()))
    expect(finite and float(count) >= 0, "without any label the loss or its gradient is not finite")


def _case() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, _CLASSES, 6, 5, generator=generator)
    targets = torch.randint(0, _CLASSES, (2, 6, 5), generator=generator)
    targets[0, :2] = IGNORE_INDEX
    return logits, targets


def _mean(pair: tuple[Tensor, Tensor]) -> float:
    return float(pair[0]) / max(float(pair[1]), 1e-6)
