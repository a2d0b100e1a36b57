"""MMGLOTS: every branch counts, the parts do what the paper's words say, and BEiT's weights really load."""

from __future__ import annotations

import math

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers.pos_embed_rel import gen_relative_position_index
from torch import nn

from c2seg.data import Band
from c2seg.errors import InputError, ModelFileError, RecipeError
from c2seg.models import build_model, load_pretrained
from c2seg.models.beit import relative_index, resized_table
from c2seg.models.mmglots import Context, Fusion, WindowBlock
from c2seg.recipes import load_recipe
from c2seg.recipes.models import MMGLOTSModel
from helpers.small_networks import MMGLOTS

BANDS = {"msi": 4, "sar": 2, "hsi": 7}
MSI = tuple(Band(role=role) for role in ("blue", "green", "red", "nir"))
INPUTS = {"msi": MSI, "sar": (Band(),) * 2, "hsi": (Band(),) * 7}
NETWORK = {"embed_dim": 24, "depth": 4, "num_heads": 3, "init_values": 0.1, "num_classes": 0}


def build(bands=BANDS, seed=0, **settings):
    torch.manual_seed(seed)
    return build_model(MMGLOTSModel(**{**MMGLOTS, **settings}), bands, 5)


def patch(height=64, width=64, bands=BANDS, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(2, count, height, width, generator=generator) for name, count in bands.items()}


def beit(img_size, seed=3):
    """BEiT of timm with tables that are not 0, so that their places matter."""
    torch.manual_seed(seed)
    net = timm.create_model("beitv2_base_patch16_224", img_size=img_size, **NETWORK)
    for name, value in net.named_parameters():
        if "table" in name or name.endswith("bias"):
            nn.init.normal_(value, std=0.3)
    return net.eval()


# Branches


@pytest.mark.parametrize("settings", [{}, {"fusion": "sum", "share_stages": True}])
@pytest.mark.parametrize("name", BANDS)
def test_every_modality_changes_every_level(name, settings):
    model = build(**settings).eval()
    changed = patch() | {name: patch(seed=2)[name]}
    with torch.inference_mode():
        for level, (a, b) in enumerate(zip(model.fused(patch()), model.fused(changed), strict=True)):
            assert a.shape == (2, 24, 64 // 4 // 2**level, 64 // 4 // 2**level)
            assert (a - b).abs().max() > 1e-4, level


def test_every_branch_receives_gradient_from_the_main_output_alone():
    model = build(decoder_blocks=(2, 2, 2, 2))
    model(patch())["logits"].square().mean().backward()
    branches = [
        *(model.residual.stems[name] for name in ("sar", "hsi")),
        *(stage for name in ("sar", "hsi") for stage in model.residual.stages[name]),
        *(projection for name in ("sar", "hsi") for projection in model.residual.projections[name]),
        *model.encoder.blocks,
        *model.neck.finest,
        *model.decoder.stages,
        *model.decoder.up,
        *model.decoder.context.linear,
        model.encoder.patch_embed,
        model.encoder.tables,
        model.neck.fine,
        model.fusion,
        model.decoder.global_block,
        model.head,
    ]
    for branch in branches:
        gradients = [p.grad for p in branch.parameters()]
        assert all(g is not None and g.abs().sum() > 0 for g in gradients), branch
    assert all(p.grad is None for p in model.aux_head.parameters())


def test_the_auxiliary_head_learns_from_clean_maps_unless_told_otherwise():
    for sees in (False, True):
        model = build(aux_sees_decoder=sees)
        model(patch())["aux"].square().mean().backward()
        reached = [p.grad is not None and bool(p.grad.abs().sum() > 0) for p in model.decoder.stages[0].parameters()]
        assert any(reached) == sees
        assert all(p.grad is None for p in model.decoder.stages[1].parameters())
        assert model.encoder.cls_token.grad.abs().sum() > 0


def test_a_city_without_radar_or_spectra_is_mapped_and_one_without_msi_is_refused():
    for bands in ({"msi": 3}, {"msi": 4, "sar": 2}, {"msi": 4, "hsi": 9, "lidar": 1, "sar": 2}):
        model = build(bands=bands)
        assert model(patch(bands=bands))["logits"].shape == (2, 5, 64, 64)
    with pytest.raises(InputError, match="needs the modality msi"):
        build(bands={"sar": 2})


# Parts


def test_fusion_starts_at_the_published_weights():
    third = 2 * math.e / (math.e**4 + 2 * math.e) / 2
    expected = torch.tensor([1 - 2 * third, third, third]).repeat(4, 1)
    torch.testing.assert_close(Fusion(2, "softmax").weights(), expected)
    torch.testing.assert_close(expected[0], torch.tensor([0.909, 0.045, 0.045]), atol=5e-4, rtol=0)
    torch.testing.assert_close(Fusion(2, "sum").weights(), torch.tensor([1, 0.05, 0.05]).repeat(4, 1))
    assert build().fusion.weights().shape == (4, 3)
    parts = [[torch.full((1, 1, 1, 1), value)] * 4 for value in (1.0, 10.0, 100.0)]
    (found, *_) = Fusion(2, "sum")(parts)
    torch.testing.assert_close(found, torch.full((1, 1, 1, 1), 1 + 0.5 + 5))


def test_the_context_path_is_one_linear_layer_on_all_levels_resized():
    torch.manual_seed(0)
    context = Context(6, 4)
    levels = [torch.randn(2, 16 // 2**i, 24 // 2**i, 6) for i in range(4)]
    channels_first = [maps.permute(0, 3, 1, 2) for maps in levels]
    resized = [nn.functional.interpolate(maps, (16, 24), mode="bilinear") for maps in channels_first]
    joined = torch.cat(resized, dim=1).permute(0, 2, 3, 1)
    weight = torch.cat([linear.weight for linear in context.linear], dim=1)
    plain = context.norm(nn.functional.linear(joined, weight, context.linear[0].bias))
    torch.testing.assert_close(context(levels), plain, rtol=1e-4, atol=1e-5)


def test_the_context_path_reaches_the_last_stage():
    model = build().eval()
    seen = []
    model.decoder.stages[-1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        model(patch())
        model.decoder.context.norm.weight.zero_()
        model(patch())
        context = model.decoder.context([maps.permute(0, 2, 3, 1) for maps in model.fused(patch())])
    assert torch.equal(context, torch.zeros_like(context))
    assert (seen[0] - seen[1]).abs().mean() > 0.1


def test_global_attention_sees_everything_and_joins_the_first_stage():
    model = build().eval()
    decoder = model.decoder
    levels = [torch.randn(1, 24, 112 // 2**i, 112 // 2**i) for i in range(4)]  # the coarsest: 14 x 14, four windows
    seen = []
    decoder.up[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    other = [*levels[:-1], levels[-1].clone()]
    other[-1][..., 0, 0] = torch.randn(24)
    with torch.inference_mode():
        decoder(levels)
        decoder(other)
        change = (seen[0] - seen[1]).abs().amax(dim=-1)[0]
        assert (change > 0).all()  # window attention alone would stay inside 7 x 7
        for block in (*decoder.stages[0], decoder.global_block):
            attention = block.attn if hasattr(block, "attn") else block.attention
            for layer in (attention.proj, block.mlp.fc2):
                layer.weight.zero_()
                layer.bias.zero_()
        decoder(levels)
    torch.testing.assert_close(seen[2], 2 * levels[-1].permute(0, 2, 3, 1))  # both keep their own residual


@pytest.mark.parametrize("shift", [0, 3])
@pytest.mark.parametrize("size", [(7, 14), (20, 16)])
def test_windows_are_closed(size, shift):
    """A pixel reaches its own window alone; shifted, neither what lies across the border of the map."""
    torch.manual_seed(0)
    block = WindowBlock(8, 2, 7, shift).eval()
    maps = torch.randn(1, *size, 8)
    for row, col in ((0, 0), (size[0] - 1, size[1] - 1), (3, 5), (4, 8)):
        changed = maps.clone()
        changed[0, row, col] = torch.randn(8)
        with torch.inference_mode():
            moved = (block(maps) - block(changed)).abs().amax(dim=-1)[0] > 0
        rows = (torch.arange(size[0]) + 7 - shift) // 7 == (row + 7 - shift) // 7
        cols = (torch.arange(size[1]) + 7 - shift) // 7 == (col + 7 - shift) // 7
        assert torch.equal(moved, rows[:, None] & cols[None, :])


def test_blocks_are_shifted_in_turn():
    released = [[block.shift for block in stage] for stage in build().decoder.stages]
    assert released == [[0], [0], [0, 3, 0], [0]]
    paper = build(decoder_blocks=(2, 2, 2, 2)).decoder.stages
    assert [[block.shift for block in stage] for stage in paper] == [[0, 3]] * 4


def test_stochastic_depth_rises_over_the_blocks_of_the_decoder():
    rates = [b.drop_path.drop_prob for stage in build(drop_path=0.1).decoder.stages for b in stage]
    torch.testing.assert_close(torch.tensor(rates), torch.linspace(0, 0.1, 6))


def test_options_change_what_they_say():
    count = {key: sum(p.numel() for p in build(**{key: value}).parameters()) for key, value in {
        "scale": 1, "share_stages": True, "upsampling": "bilinear", "fusion": "sum",
    }.items()}  # fmt: skip
    plain = build()
    stages = sum(p.numel() for p in plain.residual.stages["sar"].parameters())
    projections = sum(p.numel() for p in plain.residual.projections["sar"].parameters())
    assert count["scale"] - count["share_stages"] == stages + projections
    assert count["scale"] - count["upsampling"] == 3 * (24 * 24 * 4 + 24)
    assert count["scale"] - count["fusion"] == 4
    shared = build(share_stages=True).residual
    assert set(shared.stems) == {"sar", "hsi"}
    assert set(shared.stages) == {"shared"}


@pytest.mark.parametrize(("scale", "stride"), [(5, 32), (2.5, 64), (1, 32), (2, 16), (4, 8), (1.5, 64), (0.25, 128)])
def test_patches_are_enlarged_to_whole_coarsest_pixels(scale, stride):
    model = build(bands={"msi": 3}, scale=scale).eval()
    assert model.stride_px == stride
    with torch.inference_mode():
        found = model({"msi": torch.randn(1, 3, stride, 2 * stride)})
    side = round(stride * scale) // 4
    assert found["features"].shape == (1, 24, side, 2 * side)
    assert found["logits"].shape == found["aux"].shape == (1, 5, stride, 2 * stride)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("scale", "2.1", "multiple of 0.25"),
        ("taps", "[4, 4, 8, 12]", "taps must rise"),
        ("heads", "7", "multiple of all heads"),
        ("fusion", "mean", "softmax"),
    ],
)
def test_settings_that_cannot_be_are_refused(key, value, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe("mmglots", None, [f"model.{key}={value}"])


def test_patches_of_a_training_come_enlarged():
    model = build(bands={"msi": 3}, scale=2, enlarges="prediction").eval()
    small = {"msi": torch.randn(1, 3, 32, 48)}
    large = {"msi": nn.functional.interpolate(small["msi"], scale_factor=2.0, mode="bilinear")}
    with torch.inference_mode():
        levels = model.fused(small)
        model.train()
        for a, b in zip(levels, model.eval().fused(small), strict=True):
            torch.testing.assert_close(a, b)
        always = build(bands={"msi": 3}, scale=2).eval()
        for a, b in zip(levels, always.fused(small), strict=True):
            torch.testing.assert_close(a, b)
        assert [tuple(maps.shape) for maps in model.train().fused(large)] == [tuple(maps.shape) for maps in levels]
        assert model(large)["logits"].shape == (1, 5, 64, 96)


@pytest.mark.parametrize("preset", ["tiny", "small", "paper-ab", "paper-bw"])
def test_zoomed_patches_are_enlarged_as_the_network_enlarges(preset):
    recipe = load_recipe("mmglots", preset)
    assert recipe.training.augment.enlarge == recipe.model.scale
    assert recipe.training.sampling.patch_px * recipe.training.augment.enlarge == recipe.model.input_px
    with pytest.raises(RecipeError, match=r"augment.enlarge must be .* for this network, found 1:"):
        load_recipe("mmglots", preset, ["training.augment.enlarge=1"])
    with pytest.raises(RecipeError, match=r"augment.enlarge must be 1 for this network"):
        load_recipe("unet", "tiny", ["training.augment.enlarge=2"])


def test_the_paper_reads_otherwise_than_the_code():
    code, paper = (load_recipe(name, "paper-ab") for name in ("mmglots", "mmglots@paper"))
    assert (paper.model.share_stages, paper.model.fusion, paper.model.upsampling) == (True, "sum", "bilinear")
    assert paper.model.decoder_blocks == (2, 2, 2, 2)
    assert paper.training == code.training
    assert paper.model.pretrained == "imagenet"


# BEiT


def test_the_relative_index_is_beits():
    own = gen_relative_position_index((5, 5), class_token=True)
    assert torch.equal(relative_index(5, 5, 5), own)
    part = relative_index(3, 2, 5)  # the upper left 3 x 2 of 5 x 5
    places = [0, *(1 + 5 * row + col for row in range(3) for col in range(2))]
    assert torch.equal(part, own[places][:, places])
    wide = relative_index(1, 9, 5)[1:, 1:]
    assert wide[0, 4] == wide[0, 8]
    assert wide[0, 3] != wide[0, 4]


def test_beit_computes_what_timm_computes():
    reference = beit(64)
    model = build(bands={"msi": 3}).eval()
    report = load_state(model.encoder, reference.state_dict())
    image = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected = reference.forward_intermediates(image, indices=[0, 1, 2, 3], intermediates_only=True)
        for a, b in zip(model.encoder(image), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert report.missing_keys == []


def load_state(encoder, state):
    known = encoder.state_dict()
    return encoder.load_state_dict({n: v for n, v in encoder.converted(state).items() if n in known}, strict=False)


def test_a_file_of_another_input_size_fills_the_encoder(tmp_path):
    """Tables of 14 x 14 tokens become tables of 4 x 4; the patch embedding takes four bands by their roles."""
    state = {name: value.clone() for name, value in beit(224).state_dict().items()}
    save_file(state, tmp_path / "beit.safetensors")
    model = build()
    report = load_pretrained(model, str(tmp_path / "beit.safetensors"), INPUTS)
    assert report.missing == ()
    assert len(report.loaded) == len(model.encoder.state_dict())
    assert "red + green + blue + 1 by the mean of RGB" in report.line
    weight, published = model.encoder.patch_embed.proj.weight, state["patch_embed.proj.weight"]
    for band, expected in enumerate((published[:, 2], published[:, 1], published[:, 0], published.mean(dim=1))):
        torch.testing.assert_close(weight[:, band], 0.75 * expected)
    for index, table in enumerate(model.encoder.tables):
        old = state[f"blocks.{index}.attn.relative_position_bias_table"]
        assert table.shape == (7 * 7 + 3, 3)
        assert torch.equal(table[24], old[364])  # no offset: the middle of 7 x 7 and of 27 x 27
        assert torch.equal(table[-3:], old[-3:])


def test_larger_tables_are_interpolated_on_geometric_distances():
    """A function of the logarithm of the distance is what such a grid catches: near the center fine, far away coarse."""
    old = torch.arange(-13.0, 14)
    ratio = 1.0
    while sum(ratio**i for i in range(13)) < 39:
        ratio += 1e-4
    distance = torch.tensor([sum(ratio**i for i in range(int(abs(k)))) for k in old]) * old.sign()
    wave = (distance / 12).sin()
    table = torch.cat([(wave[:, None] + wave[None, :] ** 2).reshape(-1, 1), torch.tensor([[5.0], [6.0], [7.0]])])
    found = resized_table(table, 40)
    assert found.shape == (79 * 79 + 3, 1)
    expected = (torch.arange(-39.0, 40) / 12).sin()
    grid = found[:-3, 0].reshape(79, 79)
    torch.testing.assert_close(grid, expected[:, None] + expected[None, :] ** 2, atol=0.02, rtol=0)
    assert torch.equal(found[-3:], table[-3:])
    assert torch.equal(resized_table(table, 14), table)
    with pytest.raises(ModelFileError, match="no table of relative positions"):
        resized_table(torch.zeros(30, 2), 4)


def test_a_nested_file_with_a_prefix_fills_the_encoder(tmp_path):
    state = {f"backbone.{name}": value for name, value in beit(64).state_dict().items()}
    torch.save({"model": state}, tmp_path / "beit.pth")
    report = load_pretrained(build(), str(tmp_path / "beit.pth"), INPUTS)
    assert report.missing == ()


def test_bands_without_roles_take_the_mean_and_it_is_said(tmp_path):
    save_file({name: value.clone() for name, value in beit(64).state_dict().items()}, tmp_path / "b.safetensors")
    report = load_pretrained(build(), str(tmp_path / "b.safetensors"), INPUTS | {"msi": (Band(),) * 4})
    assert "4 bands by the mean of RGB (roles unknown)" in report.line


def test_weights_that_match_nothing_are_an_error(tmp_path):
    save_file({"layer.weight": torch.zeros(3, 3), "head.kernel": torch.zeros(5)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelFileError, match=r"no weight of .* fits the encoder"):
        load_pretrained(build(), str(tmp_path / "other.safetensors"), INPUTS)


def test_imagenet_weights_come_from_timm(monkeypatch):
    asked = []
    published = beit(224)

    def create(name, **options):
        asked.append((name, options))
        return published

    monkeypatch.setattr(timm, "create_model", create)
    report = load_pretrained(build(), "imagenet", INPUTS)
    assert asked == [("beitv2_base_patch16_224.in1k_ft_in22k", {"pretrained": True})]
    assert report.missing == ()
    assert report.source == "ImageNet weights of beitv2_base_patch16_224.in1k_ft_in22k"
