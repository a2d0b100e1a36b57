"""Encoders of other libraries by name; first convolutions fitted to a file's bands."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import pytest
import torch
from safetensors.torch import save_file

from c2seg.data import Band
from c2seg.errors import InputError, MissingExtraError
from c2seg.models import build_model, encoders, load_pretrained
from c2seg.models.encoders import Levels
from c2seg.models.pretrained import band_projection, fit_first_convolution
from c2seg.recipes.models import UNetModel

BANDS = {"msi": 4, "sar": 2}
INPUTS = {"msi": tuple(Band(role=role) for role in ("blue", "green", "red", "nir")), "sar": (Band(), Band())}


def unet(encoder, **keys):
    torch.manual_seed(0)
    settings = UNetModel(**{"widths": (8, 8, 8), "decoder": "sum", "encoder": encoder, "scale": 2} | keys)
    return build_model(settings, BANDS, 5).eval()


def logits(model, side=64):
    generator = torch.Generator().manual_seed(1)
    with torch.inference_mode():
        return model({n: torch.randn(1, count, side, 2 * side, generator=generator) for n, count in BANDS.items()})[
            "logits"
        ]


def test_a_name_alone_is_timm_s():
    assert torch.equal(logits(unet("timm:resnet10t")), logits(unet("resnet10t")))


@pytest.mark.parametrize("name", ["torchgeo:resnet18", "torchgeo:swin_v2_t"])
def test_a_network_of_torchgeo(name):
    if find_spec("torchgeo") is None:
        pytest.skip("needs torchgeo")
    assert logits(unet(name)).shape == (1, 5, 64, 128)


@pytest.mark.parametrize("name", ["terratorch:timm_resnet18", "terratorch:prithvi_eo_v2_tiny_tl"])
def test_a_backbone_of_terratorch(name):
    if find_spec("terratorch") is None:
        pytest.skip("needs terratorch")
    assert logits(unet(name)).shape == (1, 5, 64, 128)


@pytest.mark.parametrize("library", ["torchgeo", "terratorch"])
def test_without_the_library_the_extra_is_named(library, monkeypatch):
    for name in [n for n in sys.modules if n.startswith(f"{library}.")]:  # an earlier test has imported it
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=rf"'\.\[{library}\]'"):
        unet(f"{library}:resnet18")


def test_an_unknown_library_is_refused():
    with pytest.raises(InputError, match=r"model.encoder=nowhere:net: unknown library 'nowhere'.*torchgeo"):
        unet("nowhere:net")


class Tokens(torch.nn.Module):
    """A transformer's outputs: a class token and tokens of 8 x 8 pixels, after each of four blocks."""

    def __init__(self):
        super().__init__()
        self.patches = torch.nn.Conv2d(6, 12, 8, stride=8)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        return [torch.cat([tokens[:, :1] * 0, tokens + level], dim=1) for level in range(4)]


def test_tokens_become_levels_that_each_halve_the_resolution():
    levels = Levels(Tokens(), 6, 3)
    x = torch.randn(1, 6, 64, 128)
    maps = levels(x)
    assert levels.finest == 4
    assert [tuple(m.shape) for m in maps] == [(1, 12, 16, 32), (1, 12, 8, 16), (1, 12, 4, 8)]
    direct = levels.net.patches(x)
    torch.testing.assert_close(maps[1], direct + levels.picked[1])
    assert levels.picked == (1, 2, 3)


def test_a_classifier_of_torchvision_gives_its_stages():
    """Swin: maps with channels last at a fourth, an eighth, ..., of any bands and sizes."""
    torchvision = pytest.importorskip("torchvision")
    net = torchvision.models.SwinTransformer([4, 4], 8, [1, 1, 1], [1, 2, 2], [4, 4])
    levels = Levels(encoders.Stages(net, 6), 6, 3).eval()
    maps = levels(torch.randn(1, 6, 64, 128))
    assert levels.finest == 4
    assert [tuple(m.shape) for m in maps] == [(1, 8, 16, 32), (1, 16, 8, 16), (1, 32, 4, 8)]


def test_an_encoder_without_so_many_maps_is_refused():
    with pytest.raises(InputError, match="4 maps, not 5"):
        Levels(Tokens(), 6, 5)


def test_ways_to_build_are_tried_until_one_gives_maps():
    def refuses():
        raise TypeError("no such argument")

    built = encoders._leveled("library:net", 6, 2, refuses, Tokens)
    assert built.channels == (12, 12)
    with pytest.raises(InputError, match=r"gives no 2 maps of 6 bands: no such argument"):
        encoders._leveled("library:net", 6, 2, refuses)


def test_bands_take_the_weights_of_the_file_s_band_that_they_are():
    columns = (443, "blue", "red", 1610.0)
    bands = [Band(role="red"), Band(wavelength_nm=492), Band(wavelength_nm=1614), Band(wavelength_nm=2200), Band()]
    projection, note = band_projection(bands, columns)
    quarter = [0.25] * 4
    assert projection.tolist() == [[0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1], quarter, quarter]
    assert note == "blue + red + 1610.0 + 2 by the mean of 4 bands"
    weight = torch.randn(2, 4, 3, 3)
    fitted, _ = fit_first_convolution(weight, {"msi": bands}, columns)
    torch.testing.assert_close(fitted[:, 0], weight[:, 2] * 4 / 5)


def test_weights_of_many_bands_fill_an_encoder(tmp_path):
    import timm

    columns = (443, "blue", "green", "red", 704, 741, 783, "nir", 1614, 2202)
    other = timm.create_model("resnet10t", pretrained=False, in_chans=len(columns))
    save_file(other.state_dict(), tmp_path / "weights.safetensors")
    model = unet("timm:resnet10t", pretrained_bands=columns, pretrained=str(tmp_path / "weights.safetensors"))
    report = load_pretrained(model, str(tmp_path / "weights.safetensors"), INPUTS)
    assert report.missing == ()
    assert report.first.startswith("msi blue + green + red + nir")
