"""Entropy of the target with shares that hold against one class everywhere."""

from __future__ import annotations

from math import log

import pytest
import torch
from torch import nn

from c2seg.errors import InputError
from c2seg.methods import METHODS, Batch, MethodContext
from c2seg.methods.entropy import entropy_and_shares, outside
from c2seg.recipes.training import EntropyMethod, Optimizer, Schedule, Training


class Bias(nn.Module):
    """The same logits at every pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([0.3, 0.0, 0.0]))

    def forward(self, patch):
        count, _, height, width = patch["msi"].shape
        return {"logits": self.logits[None, :, None, None].expand(count, 3, height, width)}


def batch(labels=None):
    valid = torch.ones(2, 8, 8, dtype=torch.bool)
    return Batch({"msi": torch.zeros(2, 1, 8, 8)}, valid, labels)


def labels(*shares):
    counts = [round(share * 128) for share in shares]
    return torch.cat([torch.full((n,), k) for k, n in enumerate(counts)]).reshape(2, 8, 8)


def method(**settings):
    training = Training(
        iterations=100,
        method=EntropyMethod(**settings),
        optimizer=Optimizer(lr=0.05, weight_decay=0),
        schedule=Schedule(name="constant"),
    )
    return METHODS["entropy"](MethodContext(Bias(), training, 3, None, torch.device("cpu")))


def test_entropy_is_1_of_even_and_0_of_sure_probabilities():
    valid = torch.ones(1, 2, 2, dtype=torch.bool)
    valid[0, 0, 0] = False
    even, shares = entropy_and_shares(torch.zeros(1, 4, 2, 2), valid)
    assert float(even) == pytest.approx(3)
    torch.testing.assert_close(shares, torch.full((4,), 0.75))
    sure = torch.zeros(1, 4, 2, 2)
    sure[:, 1] = 50
    assert float(entropy_and_shares(sure, valid)[0]) == pytest.approx(0, abs=1e-6)


def test_shares_within_the_slack_cost_nothing():
    shares = torch.tensor([0.6, 0.3, 0.1, 0.0])
    assert outside(torch.tensor([0.4, 0.3, 0.25, 0.05]), shares, 3.0) == 0
    value = outside(torch.tensor([0.05, 0.55, 0.3, 0.1]), shares, 3.0)
    assert float(value) == pytest.approx(log(0.6 / 0.05 / 3) ** 2)


def test_the_shares_are_a_running_mean_of_the_sources():
    trained = method()
    trained.step(batch(labels(0.5, 0.25, 0.25)), batch())
    torch.testing.assert_close(trained.shares, torch.tensor([0.5, 0.25, 0.25]))
    trained.step(batch(labels(0.25, 0.75, 0.0)), batch())
    torch.testing.assert_close(trained.shares, torch.tensor([0.375, 0.5, 0.125]))


@pytest.mark.parametrize(("share_weight", "collapses"), [(0.0, True), (1.0, False)])
def test_shares_hold_against_one_class_everywhere(share_weight, collapses):
    """Of logits that are alike everywhere, entropy alone makes one class sure."""
    trained = method(weight=20.0, share_weight=share_weight * 20, slack=1.5)
    for _ in range(150):
        trained.step(batch(labels(0.5, 0.25, 0.25)), batch())
    largest = float(trained.model.logits.detach().softmax(dim=0).max())
    assert (largest > 0.9) == collapses, largest


def test_the_target_is_needed():
    with pytest.raises(InputError, match="needs the target's images"):
        method().step(batch(labels(0.5, 0.25, 0.25)), None)
