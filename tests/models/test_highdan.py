"""HighDAN: shared trunk, stored projection, attention on the target's path alone, ablations."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from timm.models.hrnet import hrnet_w18
from torch import nn

from c2seg.data import Band, Normalizer, SceneReader, city_statistics, open_labeled_city, principal_components
from c2seg.errors import InputError, RecipeError
from c2seg.methods import METHODS, Adversarial, Batch, MethodContext
from c2seg.models import build_model, load_pretrained
from c2seg.recipes import load_recipe, variants
from c2seg.recipes.models import HighDANModel
from helpers import highres_counting as hand

BANDS = {"msi": 4, "sar": 2, "hsi": 12}
K = 14
SMALL = {"width": 6, "blocks": (1, 1, 1, 1), "bottleneck": 6, "max_bands": 5, "head": (16, 16, 8)}
AT_ONCE = "training.method.start_after=0"  # discriminators from the first step


def build(bands=BANDS, **settings):
    torch.manual_seed(0)
    return build_model(HighDANModel(**{**SMALL, **settings}), bands, K)


def batch(labeled, seed=0, bands=BANDS, side=48):
    generator = torch.Generator().manual_seed(seed)
    patch = {name: torch.randn(2, count, side, side, generator=generator) for name, count in bands.items()}
    targets = torch.randint(0, K - 1, (2, side, side), generator=generator) if labeled else None
    return Batch(patch, torch.ones(2, side, side, dtype=torch.bool), targets)


def training_method(model=None, *overrides):
    training = load_recipe("highdan", "tiny", [AT_ONCE, *overrides]).training
    context = MethodContext(model or build(), training, K, None, torch.device("cpu"), background=True)
    return METHODS["adversarial"](context)


def snapshot(module: nn.Module):
    return [p.detach().clone() for p in module.parameters()]


def same(before, module) -> list[bool]:
    return [torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True)]


def test_the_generator_counts_16_56_million_parameters():
    bands = {"msi": 4, "sar": 2, "hsi": 242}
    with torch.device("meta"):
        model = build_model(HighDANModel(), bands, K)
        deep = build_model(HighDANModel(blocks=(4, 4, 4, 4)), bands, K)
    count = sum(p.numel() for name, p in model.named_parameters() if not name.startswith("discriminator."))
    assert count == hand.highdan(bands, K) == 16_561_774
    assert sum(p.numel() for p in model.discriminator.parameters()) == hand.feature_discriminator()
    whole = sum(p.numel() for name, p in deep.named_parameters() if not name.startswith("discriminator."))
    assert whole == hand.highdan(bands, K, (4, 4, 4)) == 28_018_030
    assert model.feature_channels == 2160


def test_attention_is_on_the_target_path_alone():
    model = build().eval()
    patch = batch(False).patch
    with torch.inference_mode():
        source, target = (model(patch, domain=domain) for domain in ("source", "target"))
        assert torch.equal(source["features"], target["features"])
        f = source["features"]
        torch.testing.assert_close(source["logits"], model.head(f))
        torch.testing.assert_close(target["logits"], model.head(f + torch.tanh(model.discriminator(f)).abs() * f))
        assert not torch.allclose(source["logits"], target["logits"])
        assert torch.equal(model(patch)["logits"], target["logits"])  # mapping takes the target's path
        plain = build(attention=False).eval()
        assert torch.equal(plain(patch, domain="source")["logits"], plain(patch)["logits"])


@pytest.mark.parametrize("name", BANDS)
def test_every_modality_changes_the_output(name):
    model = build().eval()
    patch = batch(False).patch
    changed = {n: v + (n == name) for n, v in patch.items()}
    with torch.inference_mode():
        assert (model(patch)["logits"] - model(changed)["logits"]).abs().max() > 1e-6


def test_the_trunk_is_one_and_shared():
    model = build().eval()
    patch = batch(False).patch
    inner = model.feature_channels // 3
    with torch.inference_mode():
        before = model(patch)["features"]
        model.trunk.stage4[0].fuse_layers[0][1][1].bias += 1.0
        changed = (model(patch)["features"] - before).abs().amax(dim=(0, 2, 3)).reshape(3, inner).amax(dim=1)
    assert (changed > 0).all()
    # A modality's own maps: changing another one leaves them.
    with torch.inference_mode():
        other = model({**patch, "sar": patch["sar"] + 1})["features"]
    moved = (model(patch)["features"] - other).abs().amax(dim=(0, 2, 3)).reshape(3, inner).amax(dim=1) > 0
    assert moved.tolist() == [False, True, False]


def test_statistics_in_training_are_those_of_all_modalities_together():
    """With one pass per modality, running statistics would be a ensemble that no training step has seen."""
    model = build()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    patch = batch(False).patch
    with torch.no_grad():
        trained = model.train()(patch)["features"]
        mapped = model.eval()(patch)["features"]
    assert (trained - mapped).abs().max() < 0.05 * trained.abs().max()


def test_running_statistics_follow_the_momentum_of_the_recipe():
    for preset, momentum in (("tiny", 0.1), ("paper-ab", 0.01)):
        model = build(bn_momentum=load_recipe("highdan", preset).model.bn_momentum)
        assert {m.momentum for m in model.modules() if isinstance(m, nn.BatchNorm2d)} == {momentum}


def test_a_tenth_of_the_tiny_preset_forgets_the_random_start():
    """At 0.01 the running statistics lagged so far that the map lost half the score of the last weights."""
    recipe = load_recipe("highdan", "tiny")
    steps = recipe.training.iterations // 10
    assert (1 - recipe.model.bn_momentum) ** steps < 0.01


def test_the_discriminator_learns_as_a_discriminator_and_the_network_does_not_move_it():
    model = build()
    own = training_method(model)
    assert own.discriminators[0] is model.discriminator
    judges = {id(p) for p in own.discriminator_optimizer_step.parameters}
    network = {id(p) for p in own.optimizer_step.parameters}
    assert not judges & network
    assert {id(p) for p in model.discriminator.parameters()} <= judges
    assert {id(p) for p in model.parameters()} <= judges | network
    before = {
        "model": snapshot(model),
        "features": snapshot(model.discriminator),
        "output": snapshot(own.discriminators[1]),
    }
    losses = own.step(batch(True), batch(False, 1))
    assert all(value.isfinite() for value in losses.values())
    assert not any(same(before["features"], model.discriminator))
    assert not any(same(before["output"], own.discriminators[1]))
    assert not any(same(before["model"], model))


def test_the_losses_are_those_of_the_paper():
    """0.01 of the squared distance of both discriminators to "source"; squared distances to the domains, not halved."""
    own, twin = training_method(), training_method()
    twin.load_state_dict(deepcopy(own.state_dict()))
    source, target = batch(True), batch(False, 1)
    losses = own.step(source, target)
    with torch.no_grad():
        s, t = twin.model(source.patch, domain="source"), twin.model(target.patch, domain="target")
        real = [twin.discriminators[0](s["features"]), twin.discriminators[1](s["logits"].softmax(1))]
        fake = [twin.discriminators[0](t["features"]), twin.discriminators[1](t["logits"].softmax(1))]
    adversarial = 0.01 * sum(f.square().mean() for f in fake)
    discriminators = sum(r.square().mean() for r in real) + sum((f - 1).square().mean() for f in fake)
    assert losses["adversarial"].item() == pytest.approx(adversarial.item(), rel=1e-4)
    assert losses["discriminators"].item() == pytest.approx(discriminators.item(), rel=1e-4)


def test_attention_without_its_discriminator_is_refused():
    only = "training.method.discriminators=[{sees: probability, weight: 0.01, widths: [8, 8]}]"
    with pytest.raises(RecipeError, match="attention"):
        load_recipe("highdan", "tiny", [only])
    with pytest.raises(RecipeError, match="attention"):
        load_recipe("highdan", "tiny", ["training.method={name: supervised}"])
    training = load_recipe("highdan", "tiny", [only, "model.attention=false"]).training
    with pytest.raises(InputError, match="discriminator that sees features"):
        Adversarial(MethodContext(build(), training, K, None, torch.device("cpu")))


@pytest.mark.parametrize("variant", variants("highdan"))
def test_ablations_of_the_paper_take_a_step(variant):
    recipe = load_recipe(f"highdan@{variant}", "tiny", [AT_ONCE])
    bands = BANDS if recipe.inputs == "all" else {name: BANDS[name] for name in recipe.inputs}
    settings = recipe.model.model_copy(update={**SMALL, "blocks": recipe.model.blocks})
    torch.manual_seed(0)
    context = MethodContext(
        build_model(settings, bands, K), recipe.training, K, None, torch.device("cpu"), background=True
    )
    losses = METHODS["adversarial"](context).step(batch(True, bands=bands), batch(False, 1, bands=bands))
    assert losses["loss"].isfinite()
    assert losses["adversarial"] > 0


def test_first_weights_fill_trunk_and_bottlenecks_of_every_modality(tmp_path):
    torch.manual_seed(7)
    state = hrnet_w18(pretrained=False).state_dict()
    path = tmp_path / "hrnet_w18.pth"
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, path)
    model = build_model(HighDANModel(width=18, head=(8, 8, 8), attention=False), BANDS, K)
    report = load_pretrained(model, str(path), {name: (Band(),) * count for name, count in BANDS.items()})
    assert report.missing == ()
    assert "module.conv1.weight" in report.unused
    for name in BANDS:
        assert torch.equal(model.layer1[name][0].conv1.weight, state["layer1.0.conv1.weight"])
    assert torch.equal(model.trunk.stage3[0].branches[2][2].conv2.weight, state["stage3.0.branches.2.2.conv2.weight"])
    save_file({"other.weight": torch.zeros(3, 3)}, tmp_path / "other.safetensors")
    with pytest.raises(Exception, match="no weight of"):
        load_pretrained(model, str(tmp_path / "other.safetensors"), {"msi": (Band(),) * 4})


def test_the_projection_is_fitted_on_the_source_and_stored(make_city):
    city = open_labeled_city(make_city("source", seed=1))
    statistics = city_statistics(city.images, city.images.modality_names)
    normalizer = Normalizer.fit("minmax", statistics)
    name = max(statistics, key=lambda n: statistics[n].mean.size)
    bands = {n: s.mean.size for n, s in statistics.items()}
    model = build(bands, max_bands=bands[name] - 1)
    reader = SceneReader(city.images.scenes[0], city.images.modality_names, normalizer)
    model.fit_inputs([reader])
    patch, valid = reader(city.images.scenes[0].grid.window)
    components = model.projections[name](torch.from_numpy(patch[name])[None])[0].numpy()[:, valid]
    np.testing.assert_allclose(components.mean(axis=1), 0, atol=0.02)
    np.testing.assert_allclose(components.std(axis=1), 1, atol=0.05)
    covariance = np.cov(components)
    np.testing.assert_allclose(covariance - np.diag(np.diag(covariance)), 0, atol=0.05)
    stored = model.state_dict()
    assert f"projections.{name}.axes" in stored
    assert f"projections.{name}.axes" not in dict(model.named_parameters())
    fresh = build(bands, max_bands=bands[name] - 1)
    fresh.load_state_dict(stored)
    assert torch.equal(fresh.projections[name].axes, model.projections[name].axes)


def test_few_bands_need_no_projection():
    assert not build({"msi": 3, "sar": 2}).projections
    assert list(build().projections) == ["hsi"]


def test_the_projection_takes_channels_that_are_components_already(make_city):
    """With the recipe's ``max_bands`` the normalizer mixes bands before the network sees them."""
    city = open_labeled_city(make_city("source", seed=1))
    statistics = city_statistics(city.images, city.images.modality_names)
    normalizer = Normalizer.fit("per_city", statistics)
    scene = city.images.scenes[0]
    axes = principal_components([(scene, normalizer)], "hsi", 4).axes
    mixed = replace(normalizer, projection={"hsi": axes})
    again = principal_components([(scene, mixed)], "hsi", 3)
    assert again.axes.shape == (3, 4)
    np.testing.assert_allclose(np.abs(again.axes), np.eye(4)[:3], atol=1e-2)


# Readings of the paper and of the code


@pytest.mark.parametrize("preset", ["paper-ab", "paper-bw"])
def test_the_code_and_the_text_are_two_recipes(preset):
    code, text = (load_recipe(name, preset) for name in ("highdan", "highdan@paper-text"))
    assert (code.model.blocks, text.model.blocks) == ((4, 4, 3, 1), (4, 4, 4, 4))
    weights = [[d.weight for d in recipe.training.method.discriminators] for recipe in (code, text)]
    assert weights == [[0.01, 0.01], [0.5, 0.5]]
    assert (code.training.sampling.batch_size, text.training.sampling.batch_size) == (4, 16)
    same = {"training": {"iterations", "loss", "optimizer", "schedule"}, "prediction": True, "normalization": True}
    assert code.model_dump(include=same) == text.model_dump(include=same)


def test_the_discriminators_have_their_own_second_beta():
    recipe = load_recipe("highdan", "paper-ab")
    torch.manual_seed(0)
    model = build_model(load_recipe("highdan", "tiny").model, {"msi": 4, "sar": 2}, 14)
    context = MethodContext(model, recipe.training, 14, None, torch.device("cpu"), background=True)
    method = METHODS["adversarial"](context)
    assert method.optimizer_step.optimizer.param_groups[0]["betas"] == (0.9, 0.999)
    assert method.discriminator_optimizer_step.optimizer.param_groups[0]["betas"] == (0.9, 0.99)
    assert load_recipe("highdan", "tiny").training.method.optimizer.beta2 == 0.999  # as its figures were measured
