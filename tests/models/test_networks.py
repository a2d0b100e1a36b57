"""What is particular to one architecture: structure against the paper, counted by hand."""

from __future__ import annotations

import pytest
import torch

from c2seg.errors import InputError
from c2seg.models import build_model
from c2seg.recipes.models import DeepLabV3PlusModel, SegFormerModel, SegNetModel
from helpers.counting import batch_norm, conv


def test_segnet_has_the_thirteen_convolutions_of_vgg16_and_their_mirror_image():
    model = build_model(SegNetModel(width=0.25), {"msi": 4}, 13)
    shapes = [(m.in_channels, m.out_channels) for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    down = [(4, 16), (16, 16), (16, 32), (32, 32), (32, 64), (64, 64), (64, 64), (64, 128), *[(128, 128)] * 5]
    assert shapes[:13] == down
    assert shapes[13:] == [(b, a) for a, b in down[:0:-1]] + [(16, 13)]


def test_segnet_unpools_to_where_the_maxima_were():
    model = build_model(SegNetModel(width=0.125), {"msi": 1}, 2).eval()
    pool = model.encoder[6]
    values, places = pool(torch.tensor([[[[0.0, 0, 5, 0], [3, 0, 0, 0], [0, 0, 0, 0], [0, 7, 0, 2]]]]))
    back = torch.nn.functional.max_unpool2d(values, places, 2)
    assert back.tolist() == [[[[0, 0, 5, 0], [3, 0, 0, 0], [0, 0, 0, 0], [0, 7, 0, 2]]]]


def test_folding_the_bias_of_vgg_changes_nothing():
    from c2seg.models.segnet import SegNet

    torch.manual_seed(0)
    vgg = torch.nn.Sequential(torch.nn.Conv2d(4, 16, 3, padding=1), torch.nn.BatchNorm2d(16)).eval()
    torch.nn.init.normal_(vgg[1].running_mean)
    folded = SegNet.encoder_weights({f"features.{name}": value for name, value in vgg.state_dict().items()})
    assert "features.0.bias" not in folded
    model = SegNet({"msi": 4}, 3, width=0.25).eval()
    model.encoder.load_state_dict({n.removeprefix("features."): v for n, v in folded.items()}, strict=False)
    inputs = torch.randn(1, 4, 8, 8)
    with torch.inference_mode():
        torch.testing.assert_close(model.encoder[1](model.encoder[0](inputs)), vgg(inputs))


def test_deeplab_trains_on_a_single_patch():
    model = build_model(DeepLabV3PlusModel(encoder="resnet18", channels=16, dropout=0), {"msi": 4}, 13).train()
    logits = model({"msi": torch.randn(1, 4, 32, 32)})["logits"]
    logits.square().mean().backward()
    norm = model.net.decoder.aspp[0].convs[-1][2]
    assert norm.weight.grad is not None
    assert int(norm.num_batches_tracked) == 0
    model({"msi": torch.randn(2, 4, 32, 32)})
    assert int(norm.num_batches_tracked) == 1


@pytest.mark.parametrize("output_stride", [8, 16])
def test_deeplab_keeps_its_output_stride(output_stride):
    settings = DeepLabV3PlusModel(encoder="resnet18", channels=16, output_stride=output_stride)
    model = build_model(settings, {"msi": 4}, 13).eval()
    with torch.inference_mode():
        maps = model.encoder(torch.zeros(1, 4, 64, 64))
        features = model({"msi": torch.zeros(1, 4, 64, 64)})["features"]
    assert maps[-1].shape[-1] == 64 // output_stride
    assert features.shape == (1, 16, 16, 16)


@pytest.mark.parametrize(
    ("encoder", "words"),
    [("resnet5", "unknown encoder 'resnet5'. Did you mean"), ("vit_tiny_patch16_224", "cannot be dilated")],
)
def test_encoders_that_deeplab_cannot_use_are_refused(encoder, words):
    with pytest.raises(InputError, match=words):
        build_model(DeepLabV3PlusModel(encoder=encoder), {"msi": 4}, 13)


def test_segformer_has_no_positional_codes():
    """A window moved by the stride gives the same maps moved, away from borders: only zero padding tells places apart."""
    torch.manual_seed(0)
    model = build_model(SegFormerModel(encoder="mit_b0", channels=16), {"msi": 4}, 13).eval()
    names = {name.rsplit(".", 1)[-1] for name, _ in model.named_parameters()}
    assert names <= {"weight", "bias"}


def test_helpers_of_counting():
    assert conv(3, 8, 3) == sum(p.numel() for p in torch.nn.Conv2d(3, 8, 3, bias=False).parameters())
    assert batch_norm(8) == sum(p.numel() for p in torch.nn.BatchNorm2d(8).parameters())
