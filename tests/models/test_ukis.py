"""The U-Net of ukis-csmask: it starts as the pretrained network, its inputs are reflectance, its weights come by name."""

from __future__ import annotations

import copy
from importlib.util import find_spec

import pytest
import torch

from c2seg.data import Band
from c2seg.data.physical_layers import LAYERS, OPTICAL
from c2seg.errors import InputError, ModelFileError
from c2seg.models import build_model, load_pretrained, ukis
from c2seg.models.weight_files import read_tensors
from c2seg.recipes.models import UNetModel

BANDS = {"msi": 12, "sar": 2, OPTICAL: 10}
INPUTS = {"msi": (Band(),) * 12, "sar": (Band(),) * 2, OPTICAL: LAYERS[OPTICAL]}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_model(UNetModel(encoder="ukis-csmask"), BANDS, 5).eval()


def patch(side=64):
    generator = torch.Generator().manual_seed(1)
    values = {name: torch.randn(2, count, side, side, generator=generator) for name, count in BANDS.items()}
    return values | {OPTICAL: values[OPTICAL].abs() / 5 + 0.01}


def test_it_starts_as_a_network_on_reflectance_alone(network):
    changed = patch() | {"sar": torch.ones(2, 2, 64, 64)}
    with torch.inference_mode():
        before, after = (network(x)["features"] for x in (patch(), changed))
        torch.testing.assert_close(before, after)
        network.late_adapter.weight.fill_(0.1)
        assert not torch.allclose(network(changed)["features"], before)
        network.late_adapter.weight.zero_()


def test_gradients_reach_the_adapters_from_the_start(network):
    network(patch())["logits"].square().mean().backward()
    for adapter in (network.stem_adapter, network.late_adapter):
        assert adapter.weight.grad.abs().sum() > 0
    network.zero_grad()


def test_six_bands_are_standardized_and_no_data_is_their_mean(network):
    layer = torch.zeros(1, 10, 1, 2)
    layer[0, :, 0, 0] = torch.linspace(0.1, 1.0, 10)
    with torch.inference_mode():
        six = network.standardized(layer)[0, :, 0]
    values = [0.1, 0.2, 0.3, 0.7, 0.9, 1.0]  # blue, green, red, near and two short-wave infrared
    wanted = [(v - m) / s for v, m, s in zip(values, ukis._MEAN, ukis._STD, strict=True)]
    assert six[:, 0].tolist() == pytest.approx(wanted, abs=1e-5)
    assert six[:, 1].tolist() == [0] * 6


def test_weights_are_loaded_by_the_names_in_the_package(network, tmp_path):
    """An ONNX graph holds them as ``model.encoder...``; without counters."""
    onnx = pytest.importorskip("onnx")
    tensors = {n: v + 1 for n, v in network.encoder.state_dict().items() if not n.endswith("num_batches_tracked")}
    state = {f"model.{name}": value for name, value in tensors.items()}
    state["model.segmentation_head.0.weight"] = torch.zeros(3, 16, 3, 3)
    constants = [onnx.numpy_helper.from_array(value.numpy(), name) for name, value in state.items()]
    file = tmp_path / "model.onnx"
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "weights", [], [], constants)), str(file))
    model = copy.deepcopy(network)
    report = load_pretrained(model, str(file), INPUTS)
    assert report.missing == ()
    assert report.unused == ("model.segmentation_head.0.weight",)
    first = "encoder._conv_stem.weight"
    assert torch.equal(model.encoder.state_dict()[first], tensors[first])


def test_the_package_s_weights_give_its_classes(network):
    """With its classifier the network equals the graph of the package on a tile, which computes with 16 bits."""
    if find_spec("ukis_csmask") is None:
        pytest.skip("needs the package ukis-csmask")
    runtime = pytest.importorskip("onnxruntime")
    model = copy.deepcopy(network)
    report = load_pretrained(model, "ukis-csmask", INPUTS)
    assert report.missing == ()
    file = ukis.packaged_weights()
    state = read_tensors(file)
    head = torch.nn.Conv2d(16, 3, 3, padding=1)
    head.load_state_dict({n: state[f"model.segmentation_head.0.{n}"] for n in ("weight", "bias")})
    layer = patch(256)[OPTICAL][:1]
    session = runtime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    six = model.standardized(layer)
    with torch.inference_mode():
        ours = head(model.encoder["decoder"](model.encoder["encoder"](six)))
    theirs = session.run(None, {session.get_inputs()[0].name: six.numpy()})[0]
    difference = (ours - torch.tensor(theirs)).abs()
    assert float(difference.mean()) < 0.02 < 0.2 < float(ours.std())
    assert float((ours.argmax(1) == torch.tensor(theirs).argmax(1)).float().mean()) > 0.98


def test_without_the_package_one_line_says_so(network, monkeypatch):
    monkeypatch.setattr(ukis, "find_spec", lambda name: None)
    with pytest.raises(ModelFileError, match=r"pip install '\.\[ukis\]'"):
        load_pretrained(network, "ukis-csmask", INPUTS)


def test_it_needs_reflectance():
    with pytest.raises(InputError, match=f"needs the modality {OPTICAL}"):
        build_model(UNetModel(encoder="ukis-csmask"), {"msi": 12}, 5)


def test_an_enlarged_input_halves_the_stride():
    model = build_model(UNetModel(encoder="ukis-csmask", scale=2), {OPTICAL: 10}, 5).eval()
    with torch.inference_mode():
        result = model({OPTICAL: torch.rand(1, 10, 16, 32)})
    assert model.stride_px == 16
    assert result["logits"].shape == (1, 5, 16, 32)
    assert result["features"].shape[1] == model.feature_channels
