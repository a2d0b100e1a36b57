"""The terms of the supervised loss as recipes ask for them, and the learning rate over the iterations."""

from __future__ import annotations

import pytest
import torch

from c2seg.losses import cross_entropy, dice_loss
from c2seg.methods import MethodContext, OptimizerStep, supervised_loss
from c2seg.recipes.training import Loss, Optimizer, Schedule, Training


def context(background=False, outputs=4, **training):
    model = torch.nn.Conv2d(1, outputs, 1)
    return MethodContext(model, Training(**training), outputs, None, torch.device("cpu"), background=background)


def rates(schedule, iterations=10):
    settings = context(iterations=iterations)
    optimizer_step = OptimizerStep(settings.model.parameters(), Optimizer(lr=1.0), schedule, settings)
    found = []
    for _ in range(iterations):
        found.append(optimizer_step.rate())
        optimizer_step.apply(settings.model(torch.ones(1, 1, 1, 1)).sum())
    return found


def test_step_drops_after_every_so_many_iterations():
    assert rates(Schedule(name="step", every=4, factor=0.5)) == [1.0] * 4 + [0.5] * 4 + [0.25] * 2
    assert rates(Schedule(name="constant"), 3) == [1.0] * 3


@pytest.mark.parametrize("background", [False, True])
def test_dice_per_patch_sums_over_the_classes_without_the_background(background):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 5, 5, generator=generator)
    targets = torch.randint(0, 3, (2, 5, 5), generator=generator)
    targets[0, 0] = 255
    loss = Loss(dice=1.0, dice_kind="per_patch")
    terms = supervised_loss({"logits": logits}, targets, loss, context(background))
    expected = dice_loss(logits, targets, "per_patch", 3 if background else 4)
    assert terms["dice"] == expected
    assert dice_loss(logits, targets, "per_patch", 3) != dice_loss(logits, targets, "per_patch", 4)


def test_the_loss_of_the_third_place():
    """(mean over pixels and outputs of smoothed cross-entropy) + 0.5 Dice over all outputs, the background one of them."""
    from c2seg.recipes import load_recipe

    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 14, 6, 6, generator=generator)
    targets = torch.randint(0, 14, (2, 6, 6), generator=generator)
    terms = supervised_loss(
        {"logits": logits}, targets, load_recipe("mrsn", "paper-ab").training.loss, context(True, 14)
    )
    value, count = cross_entropy(logits, targets, None, 0.05)
    assert terms["cross_entropy"].item() == pytest.approx((value / count / 14).item(), rel=1e-6)
    assert terms["dice"].item() == pytest.approx(0.5 * dice_loss(logits, targets, "all").item(), rel=1e-6)
