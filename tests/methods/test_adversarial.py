from __future__ import annotations

from copy import deepcopy
from itertools import pairwise
from math import e, log2

import numpy as np
import pytest
import torch
from torch import nn

from c2seg.artifacts import read_model_file
from c2seg.errors import InputError, RecipeError
from c2seg.methods import METHODS, Adversarial, Batch, MethodContext
from c2seg.methods.adversarial import self_information
from c2seg.methods.base import OptimizerStep, _factor
from c2seg.models import build_model
from c2seg.models.discriminator import FeatureDiscriminator, PatchDiscriminator
from c2seg.pipeline import fit
from c2seg.recipes import load_recipe
from c2seg.recipes.models import HRNetModel, UNetModel
from c2seg.recipes.training import AdversarialMethod, DiscriminatorSettings, Optimizer, Schedule, Training
from c2seg.train.state import load_state, state_file

K = 5


def context(method, **training):
    torch.manual_seed(0)
    model = build_model(UNetModel(widths=(8, 8)), {"msi": 3}, K)
    return MethodContext(model, Training(method=method, iterations=10, **training), K, None, torch.device("cpu"))


def batch(labeled: bool, seed=0):
    generator = torch.Generator().manual_seed(seed)
    valid = torch.ones(2, 32, 32, dtype=torch.bool)
    valid[0, :4] = False
    patch = {"msi": torch.randn(2, 3, 32, 32, generator=generator) * valid[:, None]}
    targets = torch.randint(0, K, (2, 32, 32), generator=generator) if labeled else None
    return Batch(patch, valid, targets)


def snapshot(module: nn.Module):
    return [p.detach().clone() for p in module.parameters()]


def changed(before, module) -> list[bool]:
    return [not torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True)]


def test_self_information_against_the_equation():
    logits = torch.randn(2, 14, 4, 4, dtype=torch.float64)
    p = logits.softmax(1)
    np.testing.assert_allclose(self_information(logits), -p * torch.log2(p) / log2(14), rtol=1e-4)
    high = self_information(torch.randn(50, 14, 8, 8) * 5)
    assert high.min() >= 0
    assert high.max() <= log2(e) / (e * log2(14)) + 1e-6


def test_discriminators_have_the_stated_shape():
    discriminator = PatchDiscriminator(14)
    assert discriminator(torch.zeros(1, 14, 128, 128)).shape == (1, 1, 4, 4)
    counts = [14, 64, 128, 256, 512, 1]
    assert sum(p.numel() for p in discriminator.parameters()) == sum(16 * a * b + b for a, b in pairwise(counts))
    assert FeatureDiscriminator(2160)(torch.zeros(1, 2160, 3, 3)).shape == (1, 1, 3, 3)
    with pytest.raises(InputError, match="at least 32 px"):
        discriminator(torch.zeros(1, 14, 16, 16))


@pytest.mark.parametrize("gan_mode", ["bce", "lsgan"])
@pytest.mark.parametrize("on", ["entropy", "probability", "features"])
def test_a_step_moves_network_and_discriminator(on, gan_mode):
    method = AdversarialMethod(discriminators=(DiscriminatorSettings(sees=on, widths=(8, 8)),), gan_mode=gan_mode)
    training_method = Adversarial(context(method))
    before, discriminators = snapshot(training_method.model), snapshot(training_method.discriminators)
    losses = training_method.step(batch(True), batch(False, 1))
    assert all(changed(before, training_method.model))
    assert any(changed(discriminators, training_method.discriminators))
    assert all(torch.isfinite(value) for value in losses.values())
    assert losses["discriminators"] > 0


def test_the_losses_are_those_of_the_paper():
    """lambda BCE(D(E_t), source) for the network; half of BCE(D(E_s), 0) + BCE(D(E_t), 1) for the discriminator."""
    method = AdversarialMethod(discriminators=(DiscriminatorSettings(weight=0.3, widths=(8, 8)),))
    training_method = Adversarial(context(method))
    source, target = batch(True), batch(False, 1)
    twin = Adversarial(context(method))
    twin.load_state_dict(training_method.state_dict())
    losses = training_method.step(source, target)
    with torch.no_grad():
        seen = [self_information(twin.model(b.patch)["logits"]) * b.valid[:, None] for b in (source, target)]
        logits = [twin.discriminators[0](s) for s in seen]
    bce = nn.functional.binary_cross_entropy_with_logits
    zeros, ones = torch.zeros_like(logits[0]), torch.ones_like(logits[0])
    assert losses["adversarial"].item() == pytest.approx(0.3 * bce(logits[1], zeros).item(), rel=1e-5)
    expected = 0.5 * bce(logits[0], zeros) + 0.5 * bce(logits[1], ones)
    assert losses["discriminators"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_target_moves_the_network_only_after_its_start():
    method = AdversarialMethod(discriminators=(DiscriminatorSettings(weight=1.0, widths=(8, 8)),), start_after=0.2)
    results = []
    for seed in (1, 2):
        training_method = Adversarial(context(method))
        trail = []
        for _ in range(3):
            training_method.step(batch(True), batch(False, seed))
            trail.append(torch.cat([p.flatten() for p in snapshot(training_method.model)]))
        results.append(trail)
    assert torch.equal(results[0][1], results[1][1])
    assert not torch.equal(results[0][2], results[1][2])


def test_discriminators_learn_to_tell_shifted_outputs_apart():
    method = AdversarialMethod(
        discriminators=(DiscriminatorSettings(weight=1e-9, sees="probability", widths=(8, 8)),),
        optimizer=Optimizer(name="adam", lr=0.01),
    )
    training_method = Adversarial(context(method, schedule=Schedule(name="constant"), optimizer=Optimizer(lr=1e-9)))
    ramp = torch.linspace(-2, 2, 32).expand(2, 3, 32, 32)  # smooth, where the source is noise
    target = Batch({"msi": ramp.contiguous()}, torch.ones(2, 32, 32, dtype=torch.bool))
    losses = [training_method.step(batch(True), target)["discriminators"].item() for _ in range(120)]
    assert losses[-1] < 0.5 * losses[0]


def test_two_discriminators_and_missing_outputs():
    two = AdversarialMethod(
        discriminators=(DiscriminatorSettings(widths=(8, 8)), DiscriminatorSettings(sees="features"))
    )
    assert len(Adversarial(context(two)).discriminators) == 2
    aux = Adversarial(context(AdversarialMethod(discriminators=(DiscriminatorSettings(output="aux", widths=(8, 8)),))))
    with pytest.raises(InputError, match="no 'aux' output"):
        aux.step(batch(True), batch(False))
    with pytest.raises(InputError, match="give `target`"):
        Adversarial(context(two)).step(batch(True), None)


class Attentive(nn.Module):
    """A network that carries its discriminator of features and scales the target's logits by what it says."""

    feature_channels = 8

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 8, 3, padding=1)
        self.head = nn.Conv2d(8, K, 1)
        self.discriminator = FeatureDiscriminator(8)
        self.domains = []

    def forward(self, patch, domain="target"):
        self.domains.append(domain)
        features = self.features(patch["msi"])
        scale = 1 + torch.tanh(self.discriminator(features)).abs() if domain == "target" else 1
        return {"logits": self.head(features) * scale, "features": features}


def attentive(*discriminators):
    torch.manual_seed(0)
    training = Training(method=AdversarialMethod(discriminators=discriminators, gan_mode="lsgan"), iterations=10)
    return Adversarial(MethodContext(Attentive(), training, K, None, torch.device("cpu")))


def test_a_network_that_carries_its_discriminator_is_told_the_domain():
    training_method = attentive(
        DiscriminatorSettings(sees="features", weight=0.5), DiscriminatorSettings(sees="probability", widths=(8, 8))
    )
    model = training_method.model
    before, discriminator = snapshot(model.features), snapshot(model.discriminator)
    training_method.step(batch(True), batch(False, 1))
    assert model.domains == ["source", "target"]
    assert training_method.discriminators[0] is model.discriminator
    assert all(changed(before, model.features))
    assert all(changed(discriminator, model.discriminator))
    network = {id(p) for p in training_method.optimizer_step.parameters}
    assert network == {id(p) for part in (model.features, model.head) for p in part.parameters()}
    with pytest.raises(InputError, match="discriminator that sees features"):
        attentive(DiscriminatorSettings(sees="probability", widths=(8, 8)))


def test_the_networks_step_does_not_teach_its_discriminator():
    """With discriminators that learn nothing, attention and deception leave them as they are."""
    training_method = attentive(DiscriminatorSettings(sees="features", weight=0.5))
    training_method.discriminator_optimizer_step.apply = lambda loss: None
    before = snapshot(training_method.model.discriminator)
    for seed in range(3):
        training_method.step(batch(True), batch(False, seed))
    assert not any(changed(before, training_method.model.discriminator))


def test_a_discriminator_may_see_the_coarse_logits():
    method = AdversarialMethod(
        discriminators=(DiscriminatorSettings(output="coarse", widths=(8, 8)), DiscriminatorSettings(widths=(8, 8)))
    )
    torch.manual_seed(0)
    settings = HRNetModel(width=4, blocks=(1, 1, 1, 1), modules=(1, 1, 1), bottleneck=4)
    model = build_model(settings, {"msi": 3}, K)
    training_method = Adversarial(MethodContext(model, Training(method=method), K, None, torch.device("cpu")))
    seen = []
    for discriminator in training_method.discriminators:
        discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[-2:])))
    training_method.step(batch(True), batch(False, 1))
    assert set(seen) == {(8, 8), (32, 32)}


def test_the_state_survives_a_round_trip():
    method = AdversarialMethod(discriminators=(DiscriminatorSettings(widths=(8, 8)),))
    first, second = Adversarial(context(method)), Adversarial(context(method))
    first.step(batch(True), batch(False, 1))
    second.load_state_dict(deepcopy(first.state_dict()))
    for training_method in (first, second):
        training_method.step(batch(True, 3), batch(False, 4))
    assert not any(changed(snapshot(first.model), second.model))
    assert not any(changed(snapshot(first.discriminators), second.discriminators))


def test_every_method_has_a_builder():
    assert set(METHODS) == {"supervised", "adversarial", "pseudo_labels", "masked", "slow_teacher", "entropy"}
    with pytest.raises(RecipeError, match="adversarial"):
        load_recipe("unet", "tiny", ["training.method.name=magic"])


def test_advent_trains_resumes_and_needs_a_target(make_city, tmp_path):
    source, target = make_city("source", seed=1), make_city("target", seed=2, label=False)
    small = [
        "model.widths=[4, 8]", "training.iterations=8", "training.checkpoint_every=3", "prediction.window_px=64",
        "training.sampling={patch_px: 32, batch_size: 2}",
    ]  # fmt: skip
    recipe = load_recipe("advent", "tiny", small)
    with pytest.raises(InputError, match="give `target`"):
        fit(recipe, [source], tmp_path / "none")
    fit(recipe, [source], tmp_path / "whole", target=target)
    (tmp_path / "part").mkdir()
    fit(recipe, [source], tmp_path / "part", target=target)
    assert load_state(state_file(tmp_path / "part/stages/training/0")).step == 8
    first, second = (read_model_file(tmp_path / n / "model.safetensors").tensors for n in ("whole", "part"))
    assert all(np.array_equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize("name", ["one_cycle", "poly", "cosine", "constant"])
def test_schedules_start_and_end_where_they_should(name):
    factor = _factor(Schedule(name=name), 100)
    values = [factor(step) for step in range(101)]
    assert max(values) == pytest.approx(1.0, abs=1e-3)
    if name == "one_cycle":
        assert values[0] == pytest.approx(0.04)
        assert values.index(max(values)) == 30
    if name != "constant":
        assert values[-1] == pytest.approx(0.0, abs=1e-4)
    warm = _factor(Schedule(name="poly", warmup=0.1), 100)
    assert warm(0) == pytest.approx(0.1)
    assert warm(10) == pytest.approx(factor(10) if name == "poly" else 0.9**0.9)


def test_the_encoder_may_have_a_rate_of_its_own():
    settings = HRNetModel(width=4, blocks=(1, 1, 1, 1), modules=(1, 1, 1), bottleneck=4)
    torch.manual_seed(0)
    model = build_model(settings, {"msi": 3}, K)
    training = Training(optimizer=Optimizer(name="sgd", lr=0.5, encoder_factor=0.1), schedule=Schedule(name="constant"))
    training_method = METHODS["supervised"](MethodContext(model, training, K, None, torch.device("cpu")))
    rates = {
        id(p): group["lr"] for group in training_method.optimizer_step.optimizer.param_groups for p in group["params"]
    }
    assert {rates[id(p)] for p in model.trunk.parameters()} == {0.05}
    assert {rates[id(p)] for part in (model.mix, model.head) for p in part.parameters()} == {0.5}
    assert len(rates) == len(list(model.parameters()))
    assert training_method.learning_rate() == 0.5
    with pytest.raises(InputError, match="has no encoder"):
        METHODS["supervised"](MethodContext(nn.Conv2d(3, K, 1), training, K, None, torch.device("cpu")))


def test_the_gradient_is_clipped():
    weight = nn.Parameter(torch.zeros(4))
    settings = Optimizer(name="sgd", lr=1.0, momentum=0.0, weight_decay=0.0, gradient_clip=0.5)
    optimizer_step = OptimizerStep(
        [weight],
        settings,
        Schedule(name="constant"),
        context(AdversarialMethod(discriminators=(DiscriminatorSettings(widths=(8, 8)),))),
    )
    optimizer_step.apply((weight * torch.tensor([3.0, 4.0, 0.0, 0.0])).sum())
    assert weight.norm().item() == pytest.approx(0.5, rel=1e-4)
