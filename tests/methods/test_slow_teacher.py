"""Training on the target by labels of a slow teacher, with masked blocks and with classes pasted."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from c2seg.errors import InputError
from c2seg.methods import METHODS, Batch, MethodContext
from c2seg.methods.pasting import half_of_the_classes, pasted
from c2seg.recipes.training import BlockMask, Optimizer, Schedule, SlowTeacherMethod, Training

SIDE = 16


class PerPixel(nn.Module):
    """A linear classifier of two bands; remembers what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(2, 3, 1)
        self.seen: list[torch.Tensor] = []

    def forward(self, patch):
        self.seen.append(patch["msi"].detach().clone())
        return {"logits": self.layer(patch["msi"])}


def city(seed: int, *, labels: bool, shift: float = 0.0, count: int = 3) -> tuple[Batch, torch.Tensor]:
    """Patches of three separable classes and the true classes int64 [B, H, W]."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randint(3, (count, SIDE, SIDE), generator=generator)
    centers = torch.tensor([[0.0, 2.0], [2.0, 0.0], [-2.0, -2.0]])
    values = centers[truth].permute(0, 3, 1, 2) + 0.3 * torch.randn(count, 2, SIDE, SIDE, generator=generator) + shift
    return Batch({"msi": values}, torch.ones(count, SIDE, SIDE, dtype=torch.bool), truth if labels else None), truth


def method(seed: int = 0, lr: float = 0.05, **settings):
    torch.manual_seed(seed)
    training = Training(
        iterations=100,
        method=SlowTeacherMethod(**settings),
        optimizer=Optimizer(lr=lr),
        schedule=Schedule(name="constant"),
    )
    return METHODS["slow_teacher"](MethodContext(PerPixel(), training, 3, None, torch.device("cpu")))


def test_something_is_to_be_trained():
    with pytest.raises(ValidationError, match="give mask, or class_mix"):
        SlowTeacherMethod()


def test_the_target_is_needed():
    with pytest.raises(InputError, match="needs the target's images"):
        method(mask=BlockMask()).step(city(0, labels=True)[0], None)


def test_the_network_sees_the_target_without_blocks_and_the_teacher_sees_all_of_it():
    trained = method(mask=BlockMask(ratio=0.5, block_px=4), confidence=0.4)
    source, target = city(0, labels=True)[0], city(1, labels=False)[0]
    trained.step(source, target)
    assert torch.equal(trained.teacher.seen[0], target.patch["msi"])
    masked = trained.model.seen[1]
    hidden = (masked == 0).all(dim=1)
    assert hidden.float().mean() == pytest.approx(0.5, abs=0.01)
    assert torch.equal(
        masked[~hidden[:, None].expand_as(masked)], target.patch["msi"][~hidden[:, None].expand_as(masked)]
    )


def test_half_of_the_classes_are_whole_classes():
    torch.manual_seed(3)
    labels = torch.randint(5, (4, SIDE, SIDE))
    labels[:, :2] = 255
    chosen = half_of_the_classes(labels)
    for patch, where in zip(labels, chosen, strict=True):
        inside, outside = set(patch[where].tolist()), set(patch[~where].tolist())
        assert len(inside) == 3
        assert not inside & outside
        assert 255 in outside


def test_pasted_pixels_come_from_above():
    above, below = {"msi": torch.ones(1, 2, 4, 4)}, {"msi": torch.zeros(1, 2, 4, 4)}
    where = torch.zeros(1, 4, 4, dtype=torch.bool)
    where[:, 1] = True
    assert torch.equal(pasted(above, below, where)["msi"], where[:, None].float().expand(1, 2, 4, 4))


@pytest.mark.parametrize("into_source", [False, True])
def test_mixed_patches_carry_the_labels_of_where_their_pixels_come_from(into_source):
    trained = method(class_mix="both", confidence=0.34)
    (source, truth), (target, _) = city(0, labels=True), city(1, labels=False)
    seen = {}
    trained._loss = lambda patch, known, predicted, quality: (
        seen.update(patch=patch["msi"], known=known, predicted=predicted) or torch.zeros(())
    )
    trained._follow()
    by_teacher = trained._predicted(target)
    trained._mixed(source, target, by_teacher, into_source=into_source)
    from_source = (seen["patch"] == source.patch["msi"]).all(dim=1)
    assert 0 < from_source.float().mean() < 1
    assert torch.equal(seen["known"], truth.masked_fill(~from_source, 255))
    assert torch.equal(seen["predicted"], by_teacher.labels.masked_fill(from_source, 255))


def test_the_teacher_is_a_running_mean_of_the_network():
    trained = method(mask=BlockMask(), ema=0.5)
    source, target = city(0, labels=True)[0], city(1, labels=False)[0]
    weights = []
    for step in range(3):
        weights.append(trained.model.layer.weight.detach().clone())
        torch.manual_seed(step)
        trained.step(source, target)
    expected = weights[0]
    expected = (expected + weights[1]) / 2
    expected = (expected + weights[2]) / 2
    torch.testing.assert_close(trained.teacher.layer.weight, expected)
    assert not any(p.requires_grad for p in trained.teacher.parameters())


@pytest.mark.parametrize("settings", [{"mask": BlockMask(ratio=0.3, block_px=2)}, {"class_mix": "both"}])
def test_a_shifted_target_is_learnt_better_than_by_the_source_alone(settings):
    """Both cities are separable, by other lines: what the teacher is sure of moves the network to the target's."""
    scores = {}
    for name, made in {"source": None, "slow teacher": settings}.items():
        trained = method(**(made or {"mask": BlockMask()}), confidence=0.8)
        for step in range(60):
            source, target = city(2 * step, labels=True)[0], city(2 * step + 1, labels=False, shift=1.3)[0]
            torch.manual_seed(step)
            if made is None:
                super(type(trained), trained).step(source, None)
            else:
                trained.step(source, target)
        test, truth = city(999, labels=False, shift=1.3, count=20)
        scores[name] = (trained.model(test.patch)["logits"].argmax(dim=1) == truth).float().mean().item()
    assert scores["slow teacher"] > scores["source"] + 0.01, scores


def test_an_unsure_teacher_teaches_nothing_of_the_target():
    """With quality 0 the masked term is 0, whatever the labels."""
    trained = method(mask=BlockMask(), confidence=0.9999)
    losses = trained.step(city(0, labels=True)[0], city(1, labels=False)[0])
    assert losses["masked"] == 0
