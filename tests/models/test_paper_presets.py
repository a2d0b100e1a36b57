"""Every network at its published size: one forward, one training step, parameters as counted by hand."""

from __future__ import annotations

import pytest
import torch
from timm.layers import DropPath

from c2seg.methods import METHODS, Batch, MethodContext
from c2seg.models import build_model, place
from c2seg.recipes import load_recipe
from helpers import counting

CLASSES = 13
SIZES = {
    "paper-ab": ({"msi": 4, "sar": 2, "hsi": 242}, 128),
    "paper-bw": ({"msi": 4, "sar": 2, "hsi": 116}, 256),
}
# Recipe -> parameters by (bands, classes).
COUNTS = {
    "mmglots": counting.mmglots,
    "mmglots@paper": counting.mmglots_paper,
    "unet": counting.unet,
    "segnet": counting.segnet,
    "deeplabv3plus": counting.deeplabv3plus,
    "segformer": counting.segformer_b2,
}
CASES = [
    (name, preset, inputs)
    for name in COUNTS
    for preset in SIZES
    for inputs in ("default", "all")
    if inputs == "default" or load_recipe(name, preset).inputs != "all"  # else the same case twice
]


def chosen(recipe, bands, inputs):
    names = tuple(bands) if inputs == "all" or recipe.inputs == "all" else recipe.inputs
    return {name: bands[name] for name in names}


@pytest.mark.parametrize(("name", "preset", "inputs"), CASES)
def test_parameters_are_those_counted_by_hand(name, preset, inputs):
    recipe = load_recipe(name, preset)
    bands = chosen(recipe, SIZES[preset][0], inputs)
    # On the meta device nothing is allocated; the Mix Transformer computes with numbers while it is built.
    with torch.device("cpu" if name == "segformer" else "meta"):
        model = build_model(recipe.model, bands, CLASSES)
    assert sum(p.numel() for p in model.parameters()) == COUNTS[name](sum(bands.values()), CLASSES)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "preset", "inputs"), CASES)
def test_a_forward_and_a_step_at_the_true_size(name, preset, inputs):
    recipe = load_recipe(name, preset)
    found, side = SIZES[preset]
    assert recipe.training.sampling.patch_px == side
    bands = chosen(recipe, found, inputs)
    torch.manual_seed(0)
    model = place(build_model(recipe.model, bands, CLASSES), torch.device("cpu"))
    patch = {n: torch.randn(1, c, side, side).contiguous(memory_format=torch.channels_last) for n, c in bands.items()}
    for module in model.modules():
        if isinstance(module, DropPath):
            module.drop_prob = 0.0  # on a batch of one, a block that is left out learns nothing
    with torch.inference_mode():
        logits = model.eval()(patch)["logits"]
    assert logits.shape == (1, CLASSES, side, side)
    assert logits.isfinite().all()
    side = round(side * recipe.training.augment.enlarge)  # as patches of a training come
    patch = {n: torch.randn(1, c, side, side).contiguous(memory_format=torch.channels_last) for n, c in bands.items()}
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    training_method = METHODS["supervised"](
        MethodContext(model.train(), recipe.training, CLASSES, None, torch.device("cpu"))
    )
    targets = torch.randint(CLASSES, (1, side, side))
    losses = training_method.step(Batch(patch, torch.ones(1, side, side, dtype=torch.bool), targets), None)
    assert losses["loss"].isfinite()
    still = [n for n, p in model.named_parameters() if torch.equal(p.detach(), before[n])]
    assert not still
