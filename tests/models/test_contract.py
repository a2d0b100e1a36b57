"""What every network must do. A new model joins with a line in SETTINGS."""

from __future__ import annotations

import pytest
import torch

from c2seg.errors import InputError
from c2seg.models import MODELS, build_model
from c2seg.recipes.schema import UNetModel

BANDS = {"msi": 4, "sar": 2, "hsi": 7}
CLASSES = 5
SETTINGS = {
    "unet": UNetModel(widths=(6, 8, 10)),
    "unet-group": UNetModel(widths=(8, 8), norm="group"),
}


@pytest.fixture(params=list(SETTINGS))
def settings(request):
    return SETTINGS[request.param]


def build(settings, seed=0, bands=BANDS):
    torch.manual_seed(seed)
    return build_model(settings, bands, CLASSES)


def patch(size=(32, 48), seed=1, bands=BANDS):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(2, count, *size, generator=generator) for name, count in bands.items()}


def test_every_model_is_covered():
    assert {s.name for s in SETTINGS.values()} == set(MODELS)


def test_logits_lie_on_the_input_grid(settings):
    model = build(settings)
    assert model(patch())["logits"].shape == (2, CLASSES, 32, 48)
    side = model.stride_px * 2
    assert model(patch((side, side)))["logits"].shape[2:] == (side, side)


def test_gradient_reaches_every_parameter(settings):
    model = build(settings)
    model(patch())["logits"].square().mean().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not without


@pytest.mark.parametrize("name", BANDS)
def test_every_modality_matters(settings, name):
    model = build(settings).eval()
    changed = patch()
    changed[name] = changed[name] + 1.0
    with torch.inference_mode():
        assert (model(patch())["logits"] - model(changed)["logits"]).abs().max() > 1e-6


@pytest.mark.parametrize("bands", [{"msi": 3}, {"hsi": 242, "sar": 2}])
def test_any_modalities_and_band_counts(settings, bands):
    model = build(settings, bands=bands)
    assert model(patch(bands=bands))["logits"].shape == (2, CLASSES, 32, 48)


def test_the_state_survives_a_round_trip(settings):
    model, other = build(settings).eval(), build(settings, seed=5).eval()
    with torch.inference_mode():
        assert not torch.equal(model(patch())["logits"], other(patch())["logits"])
        other.load_state_dict(model.state_dict())
        assert torch.equal(model(patch())["logits"], other(patch())["logits"])


def test_the_same_seed_gives_the_same_output(settings):
    first, second, third = build(settings), build(settings), build(settings, seed=1)
    with torch.inference_mode():
        assert torch.equal(first(patch())["logits"], second(patch())["logits"])
        assert not torch.equal(first(patch())["logits"], third(patch())["logits"])


def test_a_few_steps_overfit_one_patch(settings):
    model = build(settings).train()
    inputs = patch((16, 16))
    target = (inputs["msi"][:, 0] > 0).long()
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(model(inputs)["logits"], target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.25 * losses[0]


def test_unknown_networks_are_refused():
    with pytest.raises(InputError, match="unknown network"):
        build_model(type("Settings", (), {"name": "vit"}), BANDS, CLASSES)
