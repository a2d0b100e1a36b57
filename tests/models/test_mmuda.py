"""The second place's generator: nothing that is built is without effect."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from c2seg.artifacts import read_model_file
from c2seg.errors import InputError
from c2seg.methods import METHODS, Batch, MethodContext
from c2seg.methods.adversarial import self_information
from c2seg.models import build_model
from c2seg.models.mmuda import DilatedClassifier, FeaturePyramid
from c2seg.pipeline import fit
from c2seg.recipes import load_recipe
from c2seg.recipes.models import MMUDAModel
from helpers import highres_counting as hand
from helpers.tensors import saved_weights

BANDS = {"msi": 4, "sar": 2, "hsi": 7}
K = 14
SMALL = {"width": 6, "blocks": (1, 1, 1, 1), "modules": (1, 1, 1), "bottleneck": 6, "channels": 16}


def build(**settings):
    torch.manual_seed(0)
    return build_model(MMUDAModel(**{**SMALL, **settings}), BANDS, K)


def batch(labeled, seed=0, side=64):
    generator = torch.Generator().manual_seed(seed)
    patch = {name: torch.randn(2, count, side, side, generator=generator) for name, count in BANDS.items()}
    targets = torch.randint(0, K - 1, (2, side, side), generator=generator) if labeled else None
    return Batch(patch, torch.ones(2, side, side, dtype=torch.bool), targets)


def adversarial(preset="tiny"):
    recipe = load_recipe("mmuda", preset)
    [network] = recipe.stage_networks("adaptation", tuple(BANDS))
    training = network.training
    return METHODS["adversarial"](MethodContext(build(), training, K, None, torch.device("cpu"), background=True))


def test_there_is_a_trunk_for_all_and_one_for_each():
    model = build()
    inputs = {name: trunk.conv1.in_channels for name, trunk in model.trunks.items()}
    assert inputs == {"shared": 13, "msi": 4, "sar": 2, "hsi": 7}
    assert list(build(specific=False).trunks) == ["shared"]
    with pytest.raises(InputError, match="'shared'"):
        build_model(MMUDAModel(**SMALL), {"shared": 3}, K)


@pytest.mark.parametrize("decoder", ["fpn", "concat"])
@pytest.mark.parametrize("output", ["logits", "aux"])
@pytest.mark.parametrize("branch", ["shared", "msi", "sar", "hsi"])
def test_every_trunk_changes_both_outputs(branch, output, decoder):
    """In the released code, summed lists leave the decoder with the shared trunk alone."""
    model = build(decoder=decoder).eval()
    with torch.inference_mode():
        before = model(batch(False).patch)[output]
        model.trunks[branch].bn1.bias += 1.0
        assert (model(batch(False).patch)[output] - before).abs().max() > 1e-6


@pytest.mark.parametrize("name", BANDS)
def test_a_target_modality_changes_the_outputs(name):
    model = build().eval()
    changed = {n: v + (n == name) for n, v in batch(False).patch.items()}
    with torch.inference_mode():
        whole, other = model(batch(False).patch), model(changed)
    assert all((whole[n] - other[n]).abs().max() > 1e-6 for n in whole)


def test_outputs_lie_where_the_discriminators_look():
    out = build()(batch(False).patch)
    assert out["logits"].shape == out["aux"].shape == (2, K, 64, 64)
    assert out["coarse"].shape == (2, K, 16, 16)
    assert out["features"].shape == (2, 16, 16, 16)


def test_the_adversarial_step_reaches_every_trunk_and_both_discriminators():
    training_method = adversarial()
    assert [discriminator.layers[0].in_channels for discriminator in training_method.discriminators] == [
        K,
        K,
    ]  # the background's map too
    parts = {f"trunks.{n}": t for n, t in training_method.model.trunks.items()}
    parts |= {n: getattr(training_method.model, n) for n in ("decoder", "classifier", "aux_classifier")}
    parts |= {f"discriminators.{i}": c for i, c in enumerate(training_method.discriminators)}
    before = {name: [p.detach().clone() for p in part.parameters()] for name, part in parts.items()}
    losses = training_method.step(batch(True), batch(False, 1))
    assert all(value.isfinite() for value in losses.values())
    for name, part in parts.items():
        assert all(not torch.equal(a, b) for a, b in zip(before[name], part.parameters(), strict=True)), name


def test_entropy_maps_stay_in_range():
    torch.manual_seed(0)
    out = build()(batch(False).patch)
    for name in ("coarse", "aux"):
        maps = self_information(50 * out[name])
        assert maps.shape[1] == K
        assert maps.min() >= 0
        assert maps.max() <= 0.1394
    assert self_information(torch.tensor([1.0, *[-0.95] * 13]).reshape(1, K, 1, 1)).max() <= 0.1394


def test_the_paper_discriminators_fit_their_maps():
    """32 x 32 at a quarter of an AB tile, 128 x 128 for the auxiliary output; both have five convolutions."""
    training_method = adversarial("paper-ab")
    assert training_method.discriminators[0](torch.zeros(1, K, 32, 32)).shape == (1, 1, 1, 1)
    assert training_method.discriminators[1](torch.zeros(1, K, 128, 128)).shape == (1, 1, 4, 4)
    assert all(
        sum(isinstance(m, torch.nn.Conv2d) for m in discriminator.layers) == 5
        for discriminator in training_method.discriminators
    )


def test_the_pyramid_is_a_sum_from_coarse_to_fine():
    decoder = FeaturePyramid([2, 2], 2)
    for lateral in decoder.laterals:
        torch.nn.init.dirac_(lateral.weight)
        torch.nn.init.zeros_(lateral.bias)
    fine, coarse = torch.randn(1, 2, 3, 3), torch.randn(1, 2, 2, 2)
    total = decoder([fine, coarse])
    expected = fine + torch.nn.functional.interpolate(coarse, (3, 3), mode="bilinear", align_corners=True)
    torch.testing.assert_close(total, expected)


def test_the_classifier_sums_four_dilations():
    torch.manual_seed(0)
    classifier = DilatedClassifier(64, K)
    assert [(c.dilation, c.padding) for c in classifier.rates] == [((r, r), (r, r)) for r in (8, 4, 2, 1)]
    weights = torch.cat([c.weight.flatten() for c in classifier.rates])
    assert weights.std().item() == pytest.approx(0.01, rel=0.05)
    assert sum(p.numel() for p in classifier.parameters()) == hand.dilated_classifier(64, K)


@pytest.mark.slow
def test_phases_start_every_trunk_from_its_own_network():
    recipe = load_recipe("mmuda", "paper-ab")
    assert list(recipe.stages) == ["shared", "msi", "sar", "hsi", "pretraining", "adaptation"]
    bands = {"msi": 4, "sar": 2, "hsi": 242}
    with torch.device("meta"):
        whole = build_model(recipe.model, bands, K).state_dict()
        singles = {}
        for name in ("shared", "msi", "sar", "hsi"):
            inputs = recipe.stages[name].inputs or tuple(bands)
            singles[name] = build_model(recipe.stages[name].model, {n: bands[n] for n in inputs}, K).state_dict()
    for part, origin in recipe.stages["pretraining"].init_from.items():
        phase, _, inner = origin.partition("/")
        wanted = {n.removeprefix(f"{part}."): v.shape for n, v in whole.items() if n.startswith(f"{part}.")}
        given = {n.removeprefix(f"{inner}."): v.shape for n, v in singles[phase].items() if n.startswith(f"{inner}.")}
        assert wanted == given != {}
    networks = [recipe.stage_networks(stage, tuple(bands))[0] for stage in recipe.stages]
    assert [network.training.iterations for network in networks] == [2800] * 4 + [2100, 4500]


@pytest.mark.slow
def test_all_phases_run_and_their_trunks_arrive(make_city, tmp_path):
    source, target = make_city("source", seed=1), make_city("target", seed=2, label=False)
    small = {"width": 4, "blocks": [1, 1, 1, 1], "modules": [1, 1, 1], "bottleneck": 4}
    sizes = [f"model={small | {'channels': 8}}", "training.iterations=2", "training.ema_decay=null"]
    sizes += [f"stages.{name}.model={small}" for name in ("shared", "msi", "sar", "hsi")]
    sizes += ["training.sampling={patch_px: 64, batch_size: 2}", "prediction.tta=false"]
    sizes += ["stages.pretraining.training.optimizer.lr=1e-12", "stages.adaptation.training.optimizer.lr=1e-12"]
    fit(load_recipe("mmuda", "tiny", sizes), [source], tmp_path / "run", target=target)
    final = read_model_file(tmp_path / "run/model.safetensors").tensors
    for name in ("shared", "msi", "sar", "hsi"):
        trained = saved_weights(tmp_path / f"run/stages/{name}/0")
        weights = trained["trunk.stage4.0.branches.3.0.conv1.weight"]
        np.testing.assert_allclose(
            final[f"networks.adaptation.0.trunks.{name}.stage4.0.branches.3.0.conv1.weight"], weights, atol=1e-6
        )
