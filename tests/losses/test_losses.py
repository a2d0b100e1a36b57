from __future__ import annotations

import numpy as np
import pytest
import torch

from c2seg.losses import class_weights, cross_entropy, dice_loss, focal_loss

B, K, H, W = 2, 4, 3, 5


@pytest.fixture
def case():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(B, K, H, W, generator=generator, dtype=torch.float64).requires_grad_()
    targets = torch.randint(0, K, (B, H, W), generator=generator)
    targets[0, 0] = 255
    return logits, targets


def pixels(logits, targets):
    for b in range(B):
        for i in range(H):
            for j in range(W):
                if targets[b, i, j] != 255:
                    yield logits[b, :, i, j].softmax(0).detach().numpy(), int(targets[b, i, j])


def test_cross_entropy_against_the_equation(case):
    logits, targets = case
    weights = torch.tensor([0.5, 1.0, 2.0, 0.25])
    value, count = cross_entropy(logits, targets, weights)
    expected = sum(-weights[t].item() * np.log(p[t]) for p, t in pixels(logits, targets))
    assert value.item() == pytest.approx(expected, rel=1e-5)
    assert count.item() == pytest.approx(sum(weights[t].item() for _, t in pixels(logits, targets)))


def test_label_smoothing_against_the_equation(case):
    logits, targets = case
    eps = 0.1
    value, count = cross_entropy(logits, targets, None, eps)
    expected = 0.0
    for p, t in pixels(logits, targets):
        wanted = np.full(K, eps / K)
        wanted[t] += 1 - eps
        expected -= (wanted * np.log(p)).sum()
    assert value.item() == pytest.approx(expected, rel=1e-5)
    assert count.item() == B * H * W - W


def test_focal_against_the_equation(case):
    logits, targets = case
    weights = torch.tensor([0.5, 1.0, 2.0, 0.25])
    value, _ = focal_loss(logits, targets, weights, 1.5)
    expected = sum(-weights[t].item() * (1 - p[t]) ** 1.5 * np.log(p[t]) for p, t in pixels(logits, targets))
    assert value.item() == pytest.approx(expected, rel=1e-5)
    assert focal_loss(logits, targets, None, 0.0)[0].item() == pytest.approx(cross_entropy(logits, targets)[0].item())


def test_dice_against_the_equation(case):
    logits, targets = case
    targets[targets == 3] = 1
    found = list(pixels(logits, targets))
    terms = []
    for k in range(3):
        intersection = sum(p[k] for p, t in found if t == k)
        card = sum(p[k] for p, _ in found) + sum(t == k for _, t in found)
        terms.append(1 - 2 * intersection / (card + 1e-5))
    assert dice_loss(logits, targets).item() == pytest.approx(np.mean(terms), rel=1e-5)


def test_dice_of_all_outputs_counts_absent_ones_as_0(case):
    logits, targets = case
    targets[targets == 3] = 1
    present = dice_loss(logits, targets).item()
    assert dice_loss(logits, targets, "all").item() == pytest.approx((3 * present + 1) / 4, rel=1e-5)


def test_dice_per_patch_against_the_equation(case):
    """Patch by patch, summed over the first outputs; pixels without label count in p."""
    logits, targets = case
    eps, classes = 1e-5, K - 1
    total = 0.0
    for b in range(B):
        p = logits[b].softmax(0).detach().numpy()
        for k in range(classes):
            t = (targets[b] == k).numpy()
            total += 1 - 2 * ((p[k] * t).sum() + eps) / (p[k].sum() + t.sum() + eps)
    assert dice_loss(logits, targets, "per_patch", classes).item() == pytest.approx(total / B, rel=1e-5)


def test_dice_per_patch_of_an_absent_class_that_is_not_seen_is_minus_1():
    logits = torch.tensor([50.0, -50.0]).reshape(1, 2, 1, 1).expand(1, 2, 4, 4)
    targets = torch.zeros(1, 4, 4, dtype=torch.int64)
    assert dice_loss(logits, targets, "per_patch").item() == pytest.approx(-1, abs=1e-4)
    assert dice_loss(logits, targets, "per_patch", 1).item() == pytest.approx(0, abs=1e-4)


def test_cross_entropy_as_the_mean_over_pixels_and_classes(case):
    """The third place divides smoothed cross-entropy by the number of outputs too: a weight of 1 / K."""
    logits, targets = case
    eps = 0.05
    value, count = cross_entropy(logits, targets, None, eps)
    log_p = logits.log_softmax(1).detach()
    labelled = targets != 255
    wanted = torch.full_like(log_p, eps / K)
    one_hot = torch.nn.functional.one_hot(targets.where(labelled, 0), K).movedim(-1, 1)
    wanted += (1 - eps) * one_hot
    terms = (-wanted * log_p).movedim(1, -1)[labelled]
    assert (value / count / K).item() == pytest.approx(terms.mean().item(), rel=1e-5)


def test_dice_of_a_perfect_prediction_is_near_0():
    targets = torch.arange(12).reshape(1, 3, 4) % K
    logits = 50.0 * torch.nn.functional.one_hot(targets, K).movedim(-1, 1).float()
    assert dice_loss(logits, targets).item() == pytest.approx(0, abs=1e-4)


def test_nothing_labelled_gives_0_and_finite_gradients():
    logits = torch.randn(1, K, 2, 2, requires_grad=True)
    targets = torch.full((1, 2, 2), 255)
    for value in (cross_entropy(logits, targets)[0], focal_loss(logits, targets)[0], dice_loss(logits, targets)):
        assert value.item() == 0
        (gradient,) = torch.autograd.grad(value, logits)
        assert torch.isfinite(gradient).all()


def test_ignored_pixels_get_no_gradient(case):
    logits, targets = case
    total = cross_entropy(logits, targets)[0] + focal_loss(logits, targets)[0] + dice_loss(logits, targets)
    (gradient,) = torch.autograd.grad(total, logits)
    assert (gradient[0, :, 0] == 0).all()
    assert (gradient[1] != 0).all()


def test_class_weights():
    counts = np.array([100, 0, 400])
    assert class_weights("none", counts) is None
    np.testing.assert_allclose(class_weights("inverse", counts), [1.6, 0, 0.4])
    np.testing.assert_allclose(class_weights("inverse_sqrt", counts), [4 / 3, 0, 2 / 3], rtol=1e-6)
