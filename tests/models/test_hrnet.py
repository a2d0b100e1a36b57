"""The high-resolution trunk and Seg-HRNet: structure, counts, first weights from a file."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from timm.models.hrnet import hrnet_w18
from torch import nn

from c2seg.data import Band
from c2seg.errors import ModelFileError, RecipeError
from c2seg.models import build_model, load_pretrained
from c2seg.models.hrnet import concatenated, high_resolution_trunk
from c2seg.recipes import load_recipe
from c2seg.recipes.models import HRNetModel, HRNetTrunk
from helpers import highres_counting as hand

MSI = tuple(Band(role=role) for role in ("blue", "green", "red", "nir"))
SMALL = {"width": 6, "blocks": (1, 1, 1, 1), "modules": (1, 1, 1), "bottleneck": 6}


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("width", [18, 32, 48])
def test_the_trunk_has_the_published_parameters(width):
    with torch.device("meta"):
        trunk = high_resolution_trunk(HRNetTrunk(width=width), 3)
    assert parameters(trunk) == hand.trunk(3, width)


def test_w48_has_65_million_parameters():
    assert round(hand.trunk(248) / 1e6, 1) == 65.5
    assert round(hand.trunk(3) / 1e6, 1) == 65.3


def test_four_scales_each_half_as_fine_and_twice_as_wide():
    trunk = high_resolution_trunk(HRNetTrunk(**SMALL), 5).eval()
    maps = trunk.forward_features(torch.zeros(2, 5, 64, 96))
    assert [tuple(m.shape) for m in maps] == [(2, 6 * 2**i, 16 // 2**i, 24 // 2**i) for i in range(4)]
    assert concatenated(maps).shape == (2, 90, 16, 24)


def test_branches_are_upsampled_bilinearly_with_aligned_corners():
    trunk = high_resolution_trunk(HRNetTrunk(**SMALL), 5, bn_momentum=0.01)
    ups = [m for m in trunk.modules() if isinstance(m, nn.Upsample)]
    assert ups
    assert all(m.mode == "bilinear" and m.align_corners for m in ups)
    assert {m.momentum for m in trunk.modules() if isinstance(m, nn.BatchNorm2d)} == {0.01}


def test_coarse_logits_are_those_of_a_quarter():
    torch.manual_seed(0)
    model = build_model(HRNetModel(**SMALL), {"msi": 4}, 14).eval()
    out = model({"msi": torch.randn(1, 4, 64, 64)})
    assert out["coarse"].shape == (1, 14, 16, 16)
    corners = out["logits"][..., ::63, ::63], out["coarse"][..., ::15, ::15]
    torch.testing.assert_close(*corners)  # aligned corners


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A file with the names and shapes of timm's ImageNet weights, classifier and all."""
    torch.manual_seed(7)
    state = hrnet_w18(pretrained=False).state_dict()
    path = tmp_path_factory.mktemp("weights") / "hrnet_w18.safetensors"
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    return path, state


def test_imagenet_names_fill_the_whole_trunk(published):
    path, state = published
    torch.manual_seed(0)
    model = build_model(HRNetModel(width=18), {"msi": 4, "sar": 2}, 14)
    report = load_pretrained(model, str(path), {"msi": MSI, "sar": (Band(),) * 2})
    assert report.missing == ()
    assert any(name.startswith("incre_modules") for name in report.unused)
    assert "classifier.weight" in report.unused
    own = model.trunk.state_dict()
    inner = [name for name in own if name.endswith("conv1.weight") and name != "conv1.weight"]
    assert len(inner) > 50  # the first convolution of every block, which the released code drops
    assert all(torch.equal(own[name], state[name]) for name in inner)
    # Two modalities share, each of four bands takes a quarter of that: 3 / (2 * 4) of the color of its role.
    torch.testing.assert_close(own["conv1.weight"][:, 2], 3 / 8 * state["conv1.weight"][:, 0])


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"blocks.0.attn.qkv.weight": torch.zeros(9, 3), "norm.weight": torch.zeros(7)}, path)
    model = build_model(HRNetModel(**SMALL), {"msi": 4}, 14)
    with pytest.raises(ModelFileError, match="no weight of"):
        load_pretrained(model, str(path), {"msi": MSI})


def test_sizes_are_checked():
    with pytest.raises(RecipeError, match="greater than or equal to 1"):
        load_recipe("hrnet", "tiny", ["model.blocks=[4, 0, 1, 1]"])
