"""What every network must do. A new model joins with a line in SETTINGS."""

from __future__ import annotations

import pytest
import torch
from small_networks import MMGLOTS
from timm.layers import DropPath

from c2seg.errors import InputError
from c2seg.methods import METHODS, Batch, Context
from c2seg.models import MODELS, build_model, last_layers, place
from c2seg.recipes.models import (
    DeepLabV3PlusModel,
    HighDANModel,
    HRNetModel,
    MMGLOTSModel,
    MMUDAModel,
    MRSNModel,
    SegFormerModel,
    SegNetModel,
    UNetModel,
)
from c2seg.recipes.training import MaskedMethod, Training
from c2seg.train.loop import load_initial_weights

BANDS = {"msi": 4, "sar": 2, "hsi": 7}
CLASSES = 5
HRNET = {"width": 6, "blocks": (1, 1, 1, 1), "modules": (1, 1, 1), "bottleneck": 6}
SETTINGS = {
    "unet": UNetModel(widths=(6, 8, 10)),
    "unet-sum": UNetModel(widths=(6, 8, 10), decoder="sum"),
    "unet-timm": UNetModel(widths=(6, 8, 10, 12), decoder="sum", encoder="tf_efficientnet_lite0"),
    "unet-timm-2": UNetModel(widths=(6, 8, 10), encoder="tf_efficientnet_lite0", scale=2),
    "unet-timm-4": UNetModel(widths=(6, 8), decoder="sum", encoder="convnext_atto"),
    "segnet": SegNetModel(width=0.25),
    "deeplabv3plus": DeepLabV3PlusModel(encoder="resnet18", channels=16, rates=(1, 2, 3), dropout=0),
    "deeplabv3plus-8": DeepLabV3PlusModel(encoder="resnet18", channels=16, rates=(1, 2, 3), dropout=0, output_stride=8),
    "deeplabv3plus-timm": DeepLabV3PlusModel(encoder="tf_efficientnet_lite0", channels=16, rates=(1, 2, 3), dropout=0),
    "segformer": SegFormerModel(encoder="mit_b0", channels=16, dropout=0),
    "mrsn": MRSNModel(encoder="convnext_atto", channels=16, dropout=0),
    "mrsn-cat": MRSNModel(encoder="convnext_atto", channels=16, dropout=0, fusion="cat", stem_upsample=False),
    "mmglots": MMGLOTSModel(**MMGLOTS),
    "mmglots-paper": MMGLOTSModel(
        **{**MMGLOTS, "scale": 2, "decoder_blocks": (2, 2, 2, 2)},
        share_stages=True,
        fusion="sum",
        upsampling="bilinear",
        aux_sees_decoder=True,
    ),
    "hrnet": HRNetModel(**HRNET),
    "mmuda": MMUDAModel(**HRNET, channels=16),
    "mmuda-concat": MMUDAModel(**HRNET, decoder="concat"),
    "mmuda-shared": MMUDAModel(**HRNET, specific=False, channels=16),
    "highdan": HighDANModel(**HRNET, max_bands=5, head=(16, 16, 8)),
    "highdan-plain": HighDANModel(**HRNET, bottlenecks=False, attention=False, head=(16, 16, 8)),
}
NEEDED = {"mmglots": "msi"}  # modality without which a network cannot be built


@pytest.fixture(params=list(SETTINGS))
def settings(request):
    return SETTINGS[request.param]


def build(settings, seed=0, bands=BANDS):
    torch.manual_seed(seed)
    return build_model(settings, bands, CLASSES)


def patch(size=(32, 64), seed=1, bands=BANDS):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(2, count, *size, generator=generator) for name, count in bands.items()}


def test_every_model_is_covered():
    assert {s.name for s in SETTINGS.values()} == set(MODELS)


def test_logits_lie_on_the_input_grid(settings):
    model = build(settings)
    assert model(patch())["logits"].shape == (2, CLASSES, 32, 64)
    side = model.stride_px * 2
    assert model(patch((side, side)))["logits"].shape[2:] == (side, side)


def test_features_have_the_stated_channels(settings):
    model = build(settings)
    assert model(patch())["features"].shape[1] == model.feature_channels


def test_gradient_reaches_every_parameter(settings):
    model = build(settings)
    for module in model.modules():
        if isinstance(module, DropPath):
            module.drop_prob = 0.0  # a block that is left out learns nothing
    found = model(patch())
    sum(found[name].square().mean() for name in ("logits", "aux") if name in found).backward()
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
    if settings.name in NEEDED and NEEDED[settings.name] not in bands:
        with pytest.raises(InputError, match="needs the modality"):
            build(settings, bands=bands)
        return
    model = build(settings, bands=bands)
    assert model(patch(bands=bands))["logits"].shape == (2, CLASSES, 32, 64)


def test_memory_layout_and_batch_change_nothing(settings):
    model = place(build(settings).eval(), torch.device("cpu"))
    plain = patch()
    last = {name: values.contiguous(memory_format=torch.channels_last) for name, values in plain.items()}
    alone = {name: values[:1] for name, values in plain.items()}
    with torch.inference_mode():
        whole = model(plain)["logits"]
        torch.testing.assert_close(model(last)["logits"], whole, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(model(alone)["logits"], whole[:1], rtol=1e-4, atol=1e-4)


def test_reduced_precision_runs(settings):
    model = place(build(settings).eval(), torch.device("cpu"))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        logits = model(patch())["logits"]
    assert logits.isfinite().all()


def test_the_state_survives_a_round_trip(settings):
    model, other = build(settings).eval(), build(settings, seed=5).eval()
    with torch.inference_mode():
        assert not torch.equal(model(patch())["logits"], other(patch())["logits"])
        other.load_state_dict(model.state_dict())
        assert torch.equal(model(patch())["logits"], other(patch())["logits"])


def test_the_same_seed_gives_the_same_output(settings):
    first, second, third = (build(settings, seed).eval() for seed in (0, 0, 1))
    with torch.inference_mode():
        assert torch.equal(first(patch())["logits"], second(patch())["logits"])
        assert not torch.equal(first(patch())["logits"], third(patch())["logits"])


def test_a_few_steps_overfit_one_patch(settings):
    model = build(settings).train()
    side = max(32, 2 * model.stride_px)  # one value per channel cannot be normalized
    inputs = patch((side, side))
    # Squares of 16 pixels: also networks that decode at a quarter of the resolution can draw them.
    target = (torch.arange(side)[:, None] // 16 + torch.arange(side) // 16) % 2
    target = torch.stack([target, 1 - target])
    inputs["msi"][:, 0] += 2 * target
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(60):
        logits = model(inputs)["logits"]
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits, target).backward()
        optimizer.step()
    assert (logits.argmax(dim=1) == target).float().mean() > 0.85  # by chance: a half


def test_every_network_can_restore_bands_and_teach_a_classifier_to_start_from_it(settings):
    """Built for bands instead of classes it learns; all its weights but the last layers fit the network for classes."""
    bands = sum(BANDS.values())
    model = build_model(settings, BANDS, bands)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    context = Context(model, Training(method=MaskedMethod()), bands, None, torch.device("cpu"))
    side = max(32, 2 * model.stride_px)
    batch = Batch(patch((side, side)), torch.ones(2, side, side, dtype=torch.bool))
    assert METHODS["masked"](context).step(batch, batch)["loss"] > 0
    bare = last_layers(settings, BANDS)
    weights = {name: value for name, value in model.state_dict().items() if name not in bare}
    assert {name for name in bare if name.endswith("weight")}
    assert len(weights) > 0.8 * len(before)
    assert sum(not torch.equal(value, before[name]) for name, value in weights.items()) > 0.5 * len(weights)
    load_initial_weights(build(settings), {name: value.numpy() for name, value in weights.items()})


def test_unknown_networks_are_refused():
    with pytest.raises(InputError, match="unknown network"):
        build_model(type("Settings", (), {"name": "vit"}), BANDS, CLASSES)
