"""The contract of networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from c2seg.data.physical_layers import LAYERS
from c2seg.errors import InputError
from c2seg.methods import Batch, MethodContext, build_method
from c2seg.models import MODELS, build_model, last_layers, place
from c2seg.recipes import ModelSettings
from c2seg.recipes.training import MaskedMethod, Training
from c2seg.testing.expect import check_settings, expect

__all__ = ["MODEL_CHECKS", "ModelCase", "check_model"]

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class ModelCase:
    """A small network for tests: its settings, its bands by modality, and the modalities that it requires."""

    settings: ModelSettings
    bands: Mapping[str, int] = field(default_factory=lambda: {"msi": 4, "sar": 2, "hsi": 7})
    num_classes: int = 5
    needs: tuple[str, ...] = ()

    def build(self, seed: int = 0, bands: Mapping[str, int] | None = None, outputs: int | None = None) -> nn.Module:
        """Return the network, initialized from a seed."""
        torch.manual_seed(seed)
        return build_model(self.settings, bands or self.bands, outputs or self.num_classes)

    def patch(
        self, seed: int = 1, bands: Mapping[str, int] | None = None, size: tuple[int, int] | None = None
    ) -> dict[str, Tensor]:
        """Return two patches of noise, float32 [2, C, H, W] by modality; W is 2 H unless ``size`` is given."""
        generator = torch.Generator().manual_seed(seed)
        size = size or (self.side, 2 * self.side)
        return {name: torch.randn(2, n, *size, generator=generator) for name, n in (bands or self.bands).items()}

    @cached_property
    def side(self) -> int:
        """The smallest multiple of the network's stride that is at least 32."""
        stride = int(getattr(self.build(), "stride_px", 1))
        return -(-32 // stride) * stride


def check_model(
    settings: ModelSettings,
    *,
    bands: Mapping[str, int] | None = None,
    num_classes: int = 5,
    needs: tuple[str, ...] = (),
) -> None:
    """Check a network against the contract; takes seconds for a few thousand weights. Raises AssertionError.

    ``settings``: of a small network without dropout. ``bands``: number of bands of at least two modalities. ``needs``:
    modalities that it requires; building it without one must raise InputError with "needs the modality".
    """
    case = ModelCase(settings, bands or {"msi": 4, "sar": 2, "hsi": 7}, num_classes, needs)
    for check in MODEL_CHECKS:
        check(case)


def settings_are_read_back(case: ModelCase) -> None:
    """Settings survive writing and reading; a plug-in's are available by name, without torch."""
    check_settings(case.settings)
    ours = type(case.settings).__module__.startswith("c2seg.")
    expect(ours or case.settings.name not in MODELS, f"{case.settings.name!r} is the name of a network of c2seg")


def logits_lie_on_the_input_grid(case: ModelCase) -> None:
    """``logits`` [B, K, H, W] for every size that is a multiple of ``stride_px``."""
    model = case.build()
    small = 2 * int(getattr(model, "stride_px", 1))
    for size in ((case.side, 2 * case.side), (small, small)):
        logits = model(case.patch(size=size))["logits"]
        expected = (2, case.num_classes, *size)
        expect(logits.shape == expected, f"logits {tuple(logits.shape)}, expected {expected}")


def features_have_the_stated_channels(case: ModelCase) -> None:
    """``features`` [B, feature_channels, h, w]."""
    model = case.build()
    channels = model(case.patch())["features"].shape[1]
    stated = getattr(model, "feature_channels", None)
    expect(channels == stated, f"features have {channels} channels, feature_channels says {stated}")


def gradient_reaches_every_parameter(case: ModelCase) -> None:
    """Every weight affects ``logits`` or ``aux``; stochastic depth is off."""
    model = case.build()
    for module in model.modules():
        if hasattr(module, "drop_prob"):
            setattr(module, "drop_prob", 0.0)  # noqa: B010 (timm's and others')
    outputs = model(case.patch())
    torch.stack([outputs[name].square().mean() for name in ("logits", "aux") if name in outputs]).sum().backward()  # type: ignore[no-untyped-call]
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    expect(not without, f"no gradient reaches {', '.join(without)}")


def every_modality_matters(case: ModelCase) -> None:
    """The output changes with each modality, and is finite if a modality is 0 everywhere."""
    model = case.build().eval()
    for name in case.bands:
        changed = case.patch()
        changed[name] = changed[name] + 1.0
        zeroed = case.patch() | {name: torch.zeros_like(changed[name])}
        with torch.inference_mode():
            difference = (model(case.patch())["logits"] - model(changed)["logits"]).abs().max()
            expect(float(difference) > 1e-6, f"{name} changes nothing")
            expect(bool(model(zeroed)["logits"].isfinite().all()), f"the output is not finite without {name}")


def any_modalities_and_band_counts(case: ModelCase) -> None:
    """It can be built for other bands and without any one modality, or it says which it needs."""
    for left_out in case.bands:
        more = {name: count if name in LAYERS else count + 3 for name, count in case.bands.items()}
        bands = {name: count for name, count in more.items() if name != left_out}  # physical layers keep their bands
        if not bands or set(case.needs) <= bands.keys():
            logits = case.build(bands=bands)(case.patch(bands=bands))["logits"]
            expect(logits.shape[1] == case.num_classes, f"logits {tuple(logits.shape)} for {bands}")
            continue
        try:
            case.build(bands=bands)
        except InputError as error:
            expect("needs the modality" in str(error), f"the error does not name the modality it needs: {error}")
        else:
            raise AssertionError(f"it needs {', '.join(case.needs)}, but is built for {', '.join(bands)}")


def memory_layout_and_batch_change_nothing(case: ModelCase) -> None:
    """In evaluation, channels-last memory and a batch of one give the same output."""
    model = place(case.build().eval(), _CPU)
    plain = case.patch()
    last = {name: values.contiguous(memory_format=torch.channels_last) for name, values in plain.items()}
    alone = {name: values[:1] for name, values in plain.items()}
    with torch.inference_mode():
        whole = model(plain)["logits"]
        torch.testing.assert_close(model(last)["logits"], whole, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(model(alone)["logits"], whole[:1], rtol=1e-4, atol=1e-4)


def reduced_precision_is_finite(case: ModelCase) -> None:
    """It runs in bfloat16 under autocast."""
    model = place(case.build().eval(), _CPU)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        expect(bool(model(case.patch())["logits"].isfinite().all()), "the output in bfloat16 is not finite")


def state_survives_a_round_trip(case: ModelCase) -> None:
    """``state_dict`` has everything that the output depends on."""
    model, other = case.build().eval(), case.build(seed=5).eval()
    patch = case.patch()
    with torch.inference_mode():
        other.load_state_dict(model.state_dict())
        same = torch.equal(model(patch)["logits"], other(patch)["logits"])
    expect(same, "a network that loaded the state of another gives a different output")


def the_same_seed_gives_the_same_output(case: ModelCase) -> None:
    """Initial weights are drawn from torch's generator only."""
    first, second, third = (case.build(seed).eval() for seed in (0, 0, 1))
    patch = case.patch()
    with torch.inference_mode():
        logits = first(patch)["logits"]
        expect(torch.equal(logits, second(patch)["logits"]), "the same seed gives different outputs")
        expect(not torch.equal(logits, third(patch)["logits"]), "different seeds give the same output")


def a_few_steps_overfit_one_patch(case: ModelCase) -> None:
    """It overfits squares of 16 pixels, which networks that decode at 1/4 of the resolution can also predict."""
    model = case.build().train()
    side = max(32, 2 * int(getattr(model, "stride_px", 1)))  # one value per channel cannot be normalized
    inputs = case.patch(size=(side, side))
    target = (torch.arange(side)[:, None] // 16 + torch.arange(side) // 16) % 2
    target = torch.stack([target, 1 - target])
    next(iter(inputs.values()))[:, 0] += 2 * target
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(60):
        logits = model(inputs)["logits"]
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits, target).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    correct = float((logits.argmax(dim=1) == target).float().mean())
    expect(correct > 0.85, f"after 60 steps {correct:.2f} of the pixels of two patches are correct; chance is 0.5")


def it_reconstructs_bands_and_initializes_a_classifier(case: ModelCase) -> None:
    """It can be trained to return bands; all weights but the last layers fit the network for classes."""
    bands = sum(case.bands.values())
    model = case.build(outputs=bands)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    method = build_method(MethodContext(model, Training(method=MaskedMethod()), bands, None, _CPU))
    side = max(32, 2 * int(getattr(model, "stride_px", 1)))
    batch = Batch(case.patch(size=(side, side)), torch.ones(2, side, side, dtype=torch.bool))
    expect(float(method.step(batch, batch)["loss"]) > 0, "there is nothing to reconstruct")
    last = last_layers(case.settings, case.bands)
    weights = {name: value for name, value in model.state_dict().items() if name not in last}
    changed = sum(not torch.equal(value, before[name]) for name, value in weights.items())
    expect(any(name.endswith("weight") for name in last), "no layer depends on the number of classes")
    expect(len(weights) > 0.5 * len(before), f"{len(last)} of {len(before)} tensors depend on the number of classes")
    expect(changed > 0.5 * len(weights), f"only {changed} of {len(weights)} tensors change in a step")
    shapes = {name: value.shape for name, value in case.build().state_dict().items()}
    wrong = [name for name, value in weights.items() if shapes.get(name) != value.shape]
    expect(not wrong, f"these tensors do not fit the network for classes: {', '.join(wrong)}")


MODEL_CHECKS: tuple[Callable[[ModelCase], None], ...] = (
    settings_are_read_back,
    logits_lie_on_the_input_grid,
    features_have_the_stated_channels,
    gradient_reaches_every_parameter,
    every_modality_matters,
    any_modalities_and_band_counts,
    memory_layout_and_batch_change_nothing,
    reduced_precision_is_finite,
    state_survives_a_round_trip,
    the_same_seed_gives_the_same_output,
    a_few_steps_overfit_one_patch,
    it_reconstructs_bands_and_initializes_a_classifier,
)
"""The contract of networks, one function per requirement, for parametrized tests."""
