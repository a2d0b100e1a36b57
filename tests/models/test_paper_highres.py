"""The second place's networks and HighDAN at their published sizes: parameters by hand, one forward, one training step."""

from __future__ import annotations

import pytest
import torch

from c2seg.methods import METHODS, Batch, MethodContext
from c2seg.models import build_model, place
from c2seg.recipes import load_recipe
from helpers import highres_counting as hand

K = 14  # 13 classes and the background
SIZES = {
    "paper-ab": ({"msi": 4, "sar": 2, "hsi": 242}, 128),
    "paper-bw": ({"msi": 4, "sar": 2, "hsi": 116}, 256),
}
# Recipe, and phase or member -> parameters by bands.
COUNTS = {
    "hrnet": lambda bands: hand.seg_hrnet(sum(bands.values()), K),
    "mmuda shared": lambda bands: hand.seg_hrnet(sum(bands.values()), K),
    "mmuda msi": lambda bands: hand.seg_hrnet(sum(bands.values()), K),
    "mmuda sar": lambda bands: hand.seg_hrnet(sum(bands.values()), K),
    "mmuda hsi": lambda bands: hand.seg_hrnet(sum(bands.values()), K),
    "mmuda pretraining": lambda bands: hand.mmuda(bands, K),
    "mmuda adaptation": lambda bands: hand.mmuda(bands, K),
    "mmuda-ensemble hrnet-w48": lambda bands: hand.seg_hrnet(sum(bands.values()), K),
    "mmuda-ensemble hrnet-w32": lambda bands: hand.seg_hrnet(sum(bands.values()), K, 32),
    "mmuda-ensemble resnext101": lambda bands: hand.deeplabv3plus(
        hand.resnext101_32x8d(sum(bands.values())), 2048, 256, K
    ),
    "mmuda-ensemble efficientnet-b7": lambda bands: hand.deeplabv3plus(
        hand.efficientnet_b7(sum(bands.values())), 640, 48, K
    ),
    "highdan": lambda bands: hand.highdan(bands, K) + hand.feature_discriminator(),
}
CASES = [(case, preset) for case in COUNTS for preset in SIZES]


def networks(recipe):
    """Return the networks of a recipe by stage, or by name where the stage names them; the only one has no name."""
    trained = [network for stage in recipe.stages for network in recipe.stage_networks(stage, ("msi", "sar", "hsi"))]
    named = {n.stage if n.name.isdigit() else n.name: n for n in trained}
    return named if len(named) > 1 else {}


def chosen(case, preset):
    """Return the recipe of one training, its bands, and the side of its patches."""
    name, _, part = case.partition(" ")
    recipe = load_recipe(name, preset)
    bands, side = SIZES[preset]
    if part:
        recipe = recipe.alone(networks(recipe)[part])
    assert recipe.training.sampling.patch_px == side
    return recipe, bands if recipe.inputs == "all" else {n: bands[n] for n in recipe.inputs}, side


def test_every_training_is_covered():
    parts = {name: load_recipe(name, "paper-ab") for name in {case.split()[0] for case in COUNTS}}
    every = {f"{name} {part}" for name, recipe in parts.items() for part in networks(recipe)}
    assert every == {case for case in COUNTS if " " in case}


@pytest.mark.parametrize(("case", "preset"), CASES)
def test_parameters_are_those_counted_by_hand(case, preset):
    recipe, bands, _ = chosen(case, preset)
    with torch.device("meta"):
        model = build_model(recipe.model, bands, K)
    assert sum(p.numel() for p in model.parameters()) == COUNTS[case](bands)


@pytest.mark.slow
@pytest.mark.parametrize(("case", "preset"), CASES)
def test_a_forward_and_a_step_at_the_true_size(case, preset):
    recipe, bands, side = chosen(case, preset)
    torch.manual_seed(0)
    model = place(build_model(recipe.model, bands, K), torch.device("cpu"))

    def batch(labeled):
        patch = {
            n: torch.randn(1, c, side, side).contiguous(memory_format=torch.channels_last) for n, c in bands.items()
        }
        targets = torch.randint(K - 1, (1, side, side)) if labeled else None
        return Batch(patch, torch.ones(1, side, side, dtype=torch.bool), targets)

    for module in model.modules():
        if hasattr(module, "_drop_connect_rate"):
            module._drop_connect_rate = 0.0  # on a batch of one, a block that is left out learns nothing
    with torch.inference_mode():
        logits = model.eval()(batch(False).patch)["logits"]
    assert logits.shape == (1, K, side, side)
    assert logits.isfinite().all()
    method = METHODS[recipe.training.method.name]
    training_method = method(
        MethodContext(model.train(), recipe.training, K, None, torch.device("cpu"), background=True)
    )
    losses = training_method.step(batch(True), batch(False))
    assert all(value.isfinite() for value in losses.values())
    learnt = dict(model.named_parameters())
    if case == "mmuda pretraining":  # the auxiliary classifier learns from its discriminator alone
        learnt = {name: p for name, p in learnt.items() if not name.startswith("aux_classifier")}
    learnt |= dict(
        getattr(training_method, "discriminators", torch.nn.Module()).named_parameters(prefix="discriminators")
    )
    without = [name for name, p in learnt.items() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not without
