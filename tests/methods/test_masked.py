"""Learning without labels: hidden blocks of the bands are restored."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from c2seg.methods import METHODS, Batch, MethodContext
from c2seg.methods.masked import random_block_mask, reconstruction_loss
from c2seg.models import build_model
from c2seg.recipes.models import UNetModel
from c2seg.recipes.training import MaskedMethod, Optimizer, Sampling, Schedule, Training

BANDS = {"msi": 3, "sar": 2}
SIDE = 32


class Constant(nn.Module):
    """Gives the same value everywhere and remembers what it saw."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, patch):
        self.seen = {name: values.clone() for name, values in patch.items()}
        first = next(iter(patch.values()))
        return {"logits": self.value.expand(len(first), sum(BANDS.values()), *first.shape[2:])}


def city(seed: int, count: int = 2, smooth: bool = False) -> Batch:
    """Patches without a 0; smooth ones can be restored from their surroundings."""
    generator = torch.Generator().manual_seed(seed)
    patch = {}
    for name, bands in BANDS.items():
        size = 2 if smooth else SIDE
        values = torch.randn(count, bands, size, size, generator=generator)
        patch[name] = nn.functional.interpolate(values, (SIDE, SIDE), mode="bicubic") + 0.01
    valid = torch.rand(count, SIDE, SIDE, generator=generator) > 0.2
    return Batch({name: values * valid[:, None] for name, values in patch.items()}, valid)


def training_method(model, autocast=None, **method):
    training = Training(
        iterations=200,
        method=MaskedMethod(**method),
        optimizer=Optimizer(lr=1e-2),
        schedule=Schedule(name="constant"),
        sampling=Sampling(patch_px=SIDE, batch_size=4),
    )
    more = {} if autocast is None else {"autocast": autocast}
    return METHODS["masked"](MethodContext(model, training, sum(BANDS.values()), None, torch.device("cpu"), **more))


def unet(norm="batch"):
    torch.manual_seed(0)
    return build_model(UNetModel(widths=(8, 16), decoder="sum", norm=norm), BANDS, sum(BANDS.values()))


def stacked(patch):
    return torch.cat([patch[name] for name in BANDS], dim=1)


@pytest.mark.parametrize("with_target", [True, False])
def test_the_loss_is_the_mean_square_over_hidden_valid_pixels_of_both_cities(with_target):
    model = Constant(0.5)
    source, target = city(1), city(2) if with_target else None
    torch.manual_seed(7)
    loss = training_method(model).step(source, target)["loss"]
    cities = [source, target] if target else [source]
    reference, seen = torch.cat([stacked(c.patch) for c in cities]), stacked(model.seen)
    valid = torch.cat([c.valid for c in cities])
    hidden = (seen != reference).any(dim=1)
    assert 0.35 < hidden.float().mean() / valid.float().mean() < 0.65
    assert (seen[hidden[:, None].expand_as(seen)] == 0).all()
    wanted = (reference - 0.5).square().transpose(0, 1)[:, hidden & valid].mean()
    assert float(loss) == pytest.approx(float(wanted), rel=1e-5)
    everywhere = (reference - 0.5).square().mean()
    assert abs(float(loss) - float(everywhere)) > 1e-3


def test_pixels_that_may_not_be_learnt_from_do_not_count():
    """Targets of 255 are blocks held out: a wild value there leaves the loss as it is."""
    source = city(1)
    targets = torch.zeros(source.valid.shape, dtype=torch.int64)
    targets[:, :16] = 255
    losses = []
    for extra in (0.0, 100.0):
        patch = {name: values.clone() for name, values in source.patch.items()}
        patch["sar"][:, :, :16] += extra
        torch.manual_seed(7)
        losses.append(training_method(Constant(0.5)).step(Batch(patch, source.valid, targets), None)["loss"])
    assert losses[0] == losses[1] > 0


def test_a_blanked_modality_has_nothing_to_restore():
    bands = torch.ones(2, 5, 4, 4)
    bands[1, 3:] = 0
    counted = torch.zeros(2, 4, 4, dtype=torch.bool)
    counted[:, 0, :3] = True
    value, count = reconstruction_loss(torch.zeros(2, 5, 4, 4), bands, counted)
    assert (float(value), int(count)) == (24.0, 3 * 5 + 3 * 3)


@pytest.mark.parametrize(("ratio", "hidden"), [(0.5, 10), (0.01, 1), (0.99, 20)])
def test_whole_blocks_are_hidden(ratio, hidden):
    found = random_block_mask(32, 37, ratio, 8, np.random.default_rng(0))
    assert found.shape == (32, 37)
    blocks = np.pad(found, ((0, 0), (0, 3)), mode="edge").reshape(4, 8, 5, 8).mean(axis=(1, 3))
    assert set(np.unique(blocks)) <= {0.0, 1.0}
    assert blocks.sum() == hidden


def test_what_is_hidden_changes_with_the_step_and_not_with_the_number_of_processes(monkeypatch):
    whole = city(1, count=4)
    method = training_method(Constant(0.0))
    every = method._masks(whole, (3, 0))
    assert not torch.equal(every, method._masks(whole, (4, 0)))
    assert not torch.equal(every, method._masks(whole, (3, 1)))
    object.__setattr__(method.context, "processes", 2)
    for rank in (0, 1):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        half = Batch({n: v[rank::2] for n, v in whole.patch.items()}, whole.valid[rank::2])
        assert torch.equal(method._masks(half, (3, 0)), every[rank::2])


def test_the_loss_falls_below_what_the_mean_would_give():
    method = training_method(unet(), block_px=4)
    losses = []
    for step in range(100):
        torch.manual_seed(step)
        losses.append(float(method.step(city(step, smooth=True), city(1000 + step, smooth=True))["loss"]))
    spread = np.mean([float(stacked(city(k, smooth=True).patch).var()) for k in range(10)])
    assert np.mean(losses[:10]) > spread  # which counts invalid pixels, zeros, too
    assert np.mean(losses[-10:]) < 0.8 * spread


def test_it_goes_on_from_a_state_bit_by_bit():
    whole, part, rest = (training_method(unet()) for _ in range(3))

    def run(method, steps):
        for step in steps:
            torch.manual_seed(step)
            method.step(city(step), city(100 + step))

    run(whole, range(6))
    run(part, range(3))
    rest.load_state_dict(part.state_dict())
    run(rest, range(3, 6))
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, rest.model.state_dict()[name]), name


def test_mixed_precision_changes_the_loss_little():
    losses = []
    for autocast in (None, partial(torch.autocast, "cpu", torch.bfloat16)):
        torch.manual_seed(3)
        losses.append(float(training_method(unet(), autocast).step(city(1), city(2))["loss"]))
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    assert losses[0] != losses[1]
