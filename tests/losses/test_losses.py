from __future__ import annotations

import numpy as np
import pytest
import torch

from c2seg.losses import class_weights, cross_entropy, dice_loss, generalized_cross_entropy
from c2seg.testing import check_loss

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


def test_generalized_against_a_number():
    """p = 1/2 of two classes, q = 1/2: (1 - sqrt(1/2)) / (1/2) = 2 - sqrt(2), twice, once of weight 3."""
    logits, targets = torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 1]]])
    value, count = generalized_cross_entropy(logits, targets, torch.tensor([1.0, 3.0]), 0.5)
    assert (value.item(), count.item()) == (pytest.approx(4 * (2 - 2**0.5)), 4)


@pytest.mark.parametrize("q", [0.01, 0.3, 0.7, 1.0])
def test_generalized_and_its_gradient_against_the_equation(case, q):
    logits, targets = case
    weights = torch.tensor([0.5, 1.0, 2.0, 0.25])

    def equation(values):
        return sum(weights[t].item() * (1 - p[t] ** q) / q for p, t in pixels(values, targets))

    value, count = generalized_cross_entropy(logits, targets, weights, q)
    assert value.item() == pytest.approx(equation(logits), rel=1e-5)
    assert count.item() == pytest.approx(sum(weights[t].item() for _, t in pixels(logits, targets)))
    (gradient,) = torch.autograd.grad(value, logits)
    step = 1e-5
    for index in np.ndindex(logits.shape):
        ends = []
        for sign in (1, -1):
            moved = logits.detach().clone()
            moved[index] += sign * step
            ends.append(equation(moved))
        assert gradient[index].item() == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-4, abs=1e-6)


def test_generalized_lies_between_cross_entropy_and_half_the_absolute_error(case):
    logits, targets = case
    weights = torch.tensor([0.5, 1.0, 2.0, 0.25])
    value = {q: generalized_cross_entropy(logits, targets, weights, q)[0].item() for q in (1e-6, 0.7, 1.0)}
    assert value[1e-6] == pytest.approx(cross_entropy(logits, targets, weights)[0].item(), rel=1e-5)
    absolute = sum(weights[t].item() * np.abs(p - np.eye(K)[t]).sum() for p, t in pixels(logits, targets))
    assert value[1.0] == pytest.approx(absolute / 2, rel=1e-5)
    assert value[1.0] < value[0.7] < value[1e-6]


def test_generalized_has_finite_gradients_at_both_ends():
    """p of 1, of 1e-35, which is hardly a float32, and of less than any; in half precision outside."""
    logits = torch.tensor([[200.0, 0.0], [-80.0, 0.0], [-200.0, 0.0]]).T.reshape(1, 2, 1, 3).half().requires_grad_()
    value, _ = generalized_cross_entropy(logits, torch.zeros(1, 1, 3, dtype=torch.int64), q=0.01)
    assert value.dtype == torch.float32
    (gradient,) = torch.autograd.grad(value, logits)
    expected = [0.0, -np.exp(-0.8), -np.exp(-2.0)]  # -p^q (1 - p)
    np.testing.assert_allclose(gradient[0, 0, 0].float(), expected, rtol=1e-3)


def test_best_answer_to_wrong_labels():
    """Where 40 % of the labels are wrong, cross-entropy is least at p = shares, the generalized one at shares^(1 / (1 - q))."""
    targets = torch.tensor([0] * 6 + [1] * 3 + [2]).reshape(1, 1, 10)
    shares = torch.tensor([0.6, 0.3, 0.1])
    for q in (0.3, 0.7):
        logits = (shares.log() / (1 - q)).requires_grad_()
        value, _ = generalized_cross_entropy(logits[None, :, None, None].expand(1, 3, 1, 10), targets, None, q)
        (gradient,) = torch.autograd.grad(value, logits)
        assert gradient.abs().max() < 1e-5


@pytest.mark.parametrize("loss", [cross_entropy, generalized_cross_entropy])
@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 1.0, 2.0, 0.25])])
def test_sums_of_the_parts_of_a_batch_give_the_gradient_of_the_whole(case, loss, weights):
    logits, targets = case
    whole = loss(logits, targets, weights)
    parts = [loss(logits[b : b + 1], targets[b : b + 1], weights) for b in range(B)]
    total = sum(count for _, count in parts)
    assert total.item() == pytest.approx(whole[1].item())
    (wanted,) = torch.autograd.grad(whole[0] / whole[1], logits)
    (found,) = torch.autograd.grad(sum(value / total for value, _ in parts), logits)
    torch.testing.assert_close(found, wanted)


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
    labeled = targets != 255
    wanted = torch.full_like(log_p, eps / K)
    one_hot = torch.nn.functional.one_hot(targets.where(labeled, 0), K).movedim(-1, 1)
    wanted += (1 - eps) * one_hot
    terms = (-wanted * log_p).movedim(1, -1)[labeled]
    assert (value / count / K).item() == pytest.approx(terms.mean().item(), rel=1e-5)


def test_dice_of_a_perfect_prediction_is_near_0():
    targets = torch.arange(12).reshape(1, 3, 4) % K
    logits = 50.0 * torch.nn.functional.one_hot(targets, K).movedim(-1, 1).float()
    assert dice_loss(logits, targets).item() == pytest.approx(0, abs=1e-4)


def test_nothing_labeled_gives_0_and_finite_gradients():
    logits = torch.randn(1, K, 2, 2, requires_grad=True)
    targets = torch.full((1, 2, 2), 255)
    sums = [loss(logits, targets) for loss in (cross_entropy, generalized_cross_entropy)]
    assert all(count.item() == 0 for _, count in sums)
    for value in (*(value for value, _ in sums), dice_loss(logits, targets)):
        assert value.item() == 0
        (gradient,) = torch.autograd.grad(value, logits)
        assert torch.isfinite(gradient).all()


def test_ignored_pixels_get_no_gradient(case):
    logits, targets = case
    total = sum(loss(logits, targets)[0] for loss in (cross_entropy, generalized_cross_entropy))
    total = total + dice_loss(logits, targets)
    (gradient,) = torch.autograd.grad(total, logits)
    assert (gradient[0, :, 0] == 0).all()
    assert (gradient[1] != 0).all()


def test_class_weights():
    counts = np.array([100, 0, 400])
    assert class_weights("none", counts) is None
    np.testing.assert_allclose(class_weights("inverse", counts), [1.6, 0, 0.4])


@pytest.mark.parametrize("loss", [cross_entropy, generalized_cross_entropy])
def test_losses_over_pixels_keep_the_contract_of_plug_ins(loss):
    check_loss(loss)


@pytest.mark.parametrize("kind", ["present", "all", "per_patch"])
def test_dice_keeps_the_contract_of_plug_ins(kind):
    check_loss(
        lambda logits, targets, weights: (dice_loss(logits, targets, kind), torch.tensor(1.0)),
        sees_unlabeled=kind == "per_patch",
    )
