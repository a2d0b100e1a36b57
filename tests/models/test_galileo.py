"""Galileo: equal to the reference on planted inputs; groups of bands that are missing; its weights; its decoder.

Planted values: the encoder of github.com/nasaharvest/galileo (single_file_galileo.py, one file) in eval mode, with
``planted`` tensors or the published encoder.pt of nano, called with one date, ``planted_input``, its other inputs masked:

    encoder(s_t_x, sp_x, t_x, st_x, s_t_m, sp_m, t_m, st_m, months, patch_size=token_px, input_resolution_m=resolution)[0]
"""

from __future__ import annotations

import pytest
import torch

from c2seg.data.physical_layers import LAYERS, OPTICAL, RADAR
from c2seg.errors import InputError
from c2seg.models import build_model, load_pretrained
from c2seg.models.galileo import NAME
from c2seg.models.galileo_encoder import GROUPS, GalileoEncoder
from c2seg.recipes.models import GalileoModel

BANDS = {"msi": 4, "sar": 2, OPTICAL: 10, RADAR: 2}


def planted(state):
    tensors = {}
    for number, (name, value) in enumerate(sorted(state.items())):
        waves = 0.1 * torch.sin(0.7 * torch.arange(value.numel(), dtype=torch.float64) + number)
        scale = name.endswith(("norm1.weight", "norm2.weight", "norm.weight"))
        tensors[name] = (waves + scale).reshape(value.shape).float()
    return tensors


def planted_input(token_px):
    count = 2 * 13 * (3 * token_px) ** 2
    return torch.sin(0.37 * torch.arange(count, dtype=torch.float64) + 0.1).reshape(2, 13, 3 * token_px, -1).float()


def missing(some):
    tokens = torch.zeros(2, len(GROUPS), 3, 3, dtype=torch.bool)
    if some:
        tokens[:, 0] = True
        tokens[1, 5] = True
        tokens[0, 2, 0, 1] = True
        tokens[1, 6, 2, 2] = True
    return tokens


def probed(encoder, month, resolution_m, some):
    masked = missing(some)
    with torch.inference_mode():
        tokens = encoder.eval()(planted_input(encoder.token_px), masked, month, resolution_m)
    places = [(0, 1, 0, 0, 3), (0, 6, 2, 1, 100), (1, 4, 1, 2, 64), (1, 3, 2, 0, 127)]
    return [float(tokens[place]) for place in places], float(tokens[~masked].double().abs().mean())


CASES = {  # token_px, month, resolution, some missing: four tokens' values, the mean magnitude of all that are present
    (8, 6, 10.0, False): ([-1.0140656, -1.3889945, 1.5233556, -0.9413004], 0.86020326),
    (4, 1, 10.0, True): ([-1.063733, -1.6219159, 1.0172495, -0.91904], 0.85340941),
    (3, 12, 30.0, True): ([-1.040859, -1.5616019, 0.9966145, -0.7222977], 0.85673491),
    (1, 7, 10.0, False): ([-1.067751, -1.4083737, 1.3526516, -0.5404754], 0.85910076),
}


@pytest.mark.parametrize("case", CASES)
def test_the_encoder_equals_the_reference_on_planted_weights(case):
    encoder = GalileoEncoder(token_px=case[0])
    encoder.load_state_dict(planted(encoder.state_dict()))
    values, mean = probed(encoder, *case[1:])
    assert values == pytest.approx(CASES[case][0], abs=1e-5)
    assert mean == pytest.approx(CASES[case][1], abs=1e-6)


PUBLISHED = {
    (8, 6, 10.0, False): ([-0.0300275, -0.0470048, 0.1707178, -0.2171429], 0.09780434),
    (4, 1, 10.0, True): ([0.1295845, 0.1037089, 0.046304, 0.132571], 0.0985455),
    (3, 12, 30.0, True): ([0.0573365, 0.0831865, 0.187707, -0.4694386], 0.10031286),
    (1, 7, 10.0, False): ([-0.0365332, 0.3611112, 0.1551091, 0.0763894], 0.09875705),
}


def galileo(**keys):
    torch.manual_seed(0)
    return build_model(GalileoModel(**{"token_px": 4, "grid": 3, "channels": 8, **keys}), BANDS, 5).eval()


def patch(side=24):
    generator = torch.Generator().manual_seed(1)
    values = {name: torch.randn(2, count, side, side, generator=generator) for name, count in BANDS.items()}
    return values | {OPTICAL: values[OPTICAL].abs() / 5 + 0.01, RADAR: values[RADAR] * 3 - 14}


@pytest.mark.parametrize("case", PUBLISHED)
def test_the_published_weights_give_the_reference_s_tokens(case):
    model = galileo(token_px=case[0])
    report = load_pretrained(model, NAME, dict.fromkeys(BANDS, ()))
    assert (report.missing, report.unused, report.source) == ((), (), NAME)
    values, mean = probed(model.encoder, *case[1:])
    assert values == pytest.approx(PUBLISHED[case][0], abs=1e-5)
    assert mean == pytest.approx(PUBLISHED[case][1], abs=1e-6)


def test_squares_do_not_see_each_other_in_the_encoder():
    model = galileo()
    one = patch()
    whole, other = one, {name: values.clone() for name, values in one.items()}
    other[OPTICAL][:, :, :, 12:] *= 2
    seen = []
    model.fine.register_forward_hook(lambda module, args, out: torch.zeros_like(out))
    model.coarse.register_forward_hook(lambda module, args, out: seen.append(out))
    with torch.inference_mode():
        model(whole), model(other)
    assert seen[0].shape == (2, 8, 6, 6)
    assert torch.equal(seen[0][..., :3], seen[1][..., :3])
    assert not torch.allclose(seen[0][..., 3:], seen[1][..., 3:])


def test_what_is_zero_is_missing_to_the_encoder():
    """Zeros in every band of a group mask it: a city without radar gives what a network without that layer gives."""
    model = galileo()
    calls = []
    model.encoder.register_forward_pre_hook(lambda module, args: calls.append(args[1]))
    without = patch() | {RADAR: torch.zeros(2, 2, 24, 24)}
    without[OPTICAL][:, -2:] = 0  # no short-wave infrared
    without[OPTICAL][0, :, :4, :4] = 0  # a token's patch without data
    with torch.inference_mode():
        assert model(without)["logits"].isfinite().all()
    groups = list(GROUPS)
    masked = calls[0].view(2, 4, len(groups), 3, 3)  # squares of each patch
    assert masked[:, :, groups.index("S1")].all()
    assert masked[:, :, groups.index("S2_SWIR")].all()
    assert masked[0, 0, :, 0, 0].all()
    others = [g for g, name in enumerate(groups) if name not in ("S1", "S2_SWIR")]
    assert int(masked[:, :, others].sum()) == len(others)


def test_an_image_without_data_stays_finite():
    model = galileo()
    with torch.inference_mode():
        result = model({name: torch.zeros(2, count, 24, 24) for name, count in BANDS.items()})
    assert result["logits"].isfinite().all()


def test_it_needs_a_layer_in_physical_units():
    with pytest.raises(InputError, match="needs the modality"):
        build_model(GalileoModel(), {"msi": 10}, 5)
    assert set(LAYERS) == {OPTICAL, RADAR}
