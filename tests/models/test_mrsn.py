"""MRSN: which bands go where, every branch counts and learns, sizes counted by hand, weights, and the model file."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
import torch

from c2seg.artifacts import read_model_file
from c2seg.cli import run
from c2seg.data import Band
from c2seg.errors import InputError, ModelFileError
from c2seg.methods import METHODS, Batch, MethodContext
from c2seg.models import build_model, load_pretrained, place
from c2seg.models.mrsn import branch_bands
from c2seg.pipeline.colors import find_colors, with_colors
from c2seg.predict.backends import BackendOptions
from c2seg.predict.backends.torch import load
from c2seg.recipes import load_recipe
from c2seg.recipes.models import MRSNModel
from helpers import counting

BANDS = {"msi": 4, "sar": 2, "hsi": 7}
CLASSES = 13
OUTPUTS = CLASSES + 1
SMALL = {"encoder": "convnext_atto", "channels": 16, "dropout": 0}
NAMES = {"mrsn-1b": {"msi"}, "mrsn-2b": {"msi", "sar"}, "mrsn-3b": set(BANDS), "mrsn": set(BANDS)}


def small(branches=4, bands=BANDS, seed=0, **options):
    torch.manual_seed(seed)
    return build_model(MRSNModel(branches=branches, **{**SMALL, **options}), bands, OUTPUTS)


def patch(bands=BANDS, side=32, batch=2):
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(batch, count, side, side, generator=generator) for name, count in bands.items()}


# Bands


def bands_of(branches, bands, **options):
    return {
        name: [f"{modality}{i}" for modality, i in taken]
        for name, taken in branch_bands(MRSNModel(branches=branches, **options), bands).items()
    }


def test_branches_take_the_published_bands():
    hsi = [f"hsi{i}" for i in range(7)]
    rgb, radar = ["msi0", "msi1", "msi2"], ["sar0", "sar1"]
    assert bands_of(4, BANDS) == {"gbnir": ["msi0", "msi1", "msi3"], "rgb": rgb, "sar": radar, "hsi": hsi}
    assert bands_of(3, BANDS) == {"rgb": rgb, "nirsar": ["msi3", *radar], "hsi": hsi}
    assert bands_of(2, {"msi": 4, "sar": 2}) == {"rgb": rgb, "nirsar": ["msi3", *radar]}
    assert bands_of(1, {"msi": 4}) == {"rgb": rgb}


def test_colors_of_the_recipe_choose_the_bands():
    colors = {"red": 0, "green": 1, "blue": 2, "nir": 4}
    found = bands_of(4, {"msi": 5}, colors=colors)
    assert found == {"gbnir": ["msi2", "msi1", "msi4"], "rgb": ["msi2", "msi1", "msi0"]}


def test_what_is_missing_is_left_out_and_red_stands_in_for_near_infrared():
    assert bands_of(4, {"msi": 3, "hsi": 2})["gbnir"] == ["msi0", "msi1", "msi2"]
    assert list(bands_of(4, {"hsi": 5, "sar": 2})) == ["hsi", "sar"]
    assert bands_of(2, {"msi": 3, "sar": 3})["nirsar"] == ["sar0", "sar1", "sar2"]
    assert list(bands_of(4, {"msi": 1})) == ["gbnir", "rgb"]
    assert list(bands_of(4, {"msi": 4, "height": 1})) == ["gbnir", "rgb", "height"]


@pytest.mark.parametrize(
    ("branches", "bands", "words"),
    [
        (1, BANDS, "mrsn with 1 branch takes msi, the inputs are msi, sar, hsi; set inputs or model.branches"),
        (2, BANDS, "takes msi and sar"),
        (3, {**BANDS, "height": 1}, "takes msi, sar and hsi"),
        (1, {"sar": 2}, "takes msi"),
    ],
)
def test_modalities_that_would_go_unused_are_refused(branches, bands, words):
    with pytest.raises(InputError, match=words):
        small(branches, bands)


def test_mistakes_in_the_settings_are_named():
    with pytest.raises(InputError, match=r"names a band that msi does not have \(4 bands"):
        small(colors={"blue": 0, "green": 1, "red": 4})
    with pytest.raises(InputError, match=r"unknown ConvNeXt 'convnext_smal'. Did you mean convnext_small"):
        small(encoder="convnext_smal")


def specs(*roles, nm=()):
    return tuple(Band(role=r) for r in roles) + tuple(Band(wavelength_nm=w) for w in nm)


def test_colors_are_found_by_role_then_wavelength_then_order():
    assert find_colors(specs("red", "green", "blue", "nir")) == ({"blue": 2, "green": 1, "red": 0, "nir": 3}, None)
    found, note = find_colors(specs(nm=(443, 492, 560, 665, 704, 833, 1610)))
    assert (found, note) == ({"blue": 1, "green": 2, "red": 3, "nir": 5}, None)
    found, note = find_colors(specs(None, None, None, None))
    assert found == {"blue": 0, "green": 1, "red": 2, "nir": 3}
    assert note == "the colors of msi are not known: its bands are taken as blue, green, red, nir"
    found, note = find_colors(specs("red", "green", "blue"))
    assert found == {"blue": 2, "green": 1, "red": 0}
    assert note == "msi has no near infrared: branches that take it do without"


def test_colors_become_part_of_the_recipe_and_only_where_they_are_asked_for():
    inputs = {"msi": specs("nir", "red", "green", "blue"), "sar": specs(None)}
    recipe, notes = with_colors(load_recipe("mrsn", "tiny"), inputs)
    assert recipe.model.colors == {"blue": 3, "green": 2, "red": 1, "nir": 0}
    assert notes == ()
    again = load_recipe("mrsn", "tiny", ["model.colors={blue: 0, green: 1, red: 2}"])
    assert with_colors(again, inputs) == (again, ())
    for other in (load_recipe("unet", "tiny"), load_recipe("forest")):
        assert with_colors(other, inputs) == (other, ())


# Structure


@pytest.mark.parametrize(
    ("branches", "fusion"), [(1, "plus"), (2, "plus"), (3, "plus"), (3, "cat"), (4, "plus"), (4, "cat")]
)
def test_every_band_changes_the_output_and_every_branch_learns(branches, fusion):
    bands = {1: {"msi": 4}, 2: {"msi": 4, "sar": 2}}.get(branches, BANDS)
    model = small(branches, bands, fusion=fusion)
    assert len(model.trunks) == branches
    assert len(model.heads) == (2 if branches > 2 and fusion == "plus" else 1)
    model(patch(bands))["logits"].square().mean().backward()
    for name, trunk in model.trunks.items():
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in trunk.parameters()), name
    model.eval()
    with torch.inference_mode():
        before = model(patch(bands))["logits"]
        for name, count in bands.items():
            for band in range(count):
                changed = patch(bands)
                changed[name][:, band] += 1
                seen = (model(changed)["logits"] - before).abs().max() > 1e-6
                assert seen == (name != "msi" or band < 3 or branches > 1), (name, band)


def test_the_stem_is_doubled_and_its_maps_have_half_the_resolution():
    for upsample, sides in ((True, (32, 16, 8)), (False, (16, 8, 4))):
        model = small(stem_upsample=upsample).eval()
        levels = model.trunks["rgb"](torch.zeros(1, 3, 64, 64))
        assert [tuple(level.shape[1:]) for level in levels] == [
            (c, s, s) for c, s in zip((40, 80, 160), sides, strict=True)
        ]
        assert model.stride_px == 64 // sides[-1]
        assert model(patch(side=64))["features"].shape == (2, 32, sides[0], sides[0])


def test_the_logits_of_the_heads_are_added():
    model = small().eval()
    with torch.inference_mode():
        both = model(patch())["logits"]
        parts = []
        for kept, head in enumerate(model.heads):
            weight, bias = head.classifier.weight.clone(), head.classifier.bias.clone()
            head.classifier.weight.zero_()
            head.classifier.bias.zero_()
            parts.append(model(patch())["logits"])
            head.classifier.weight.copy_(weight)
            head.classifier.bias.copy_(bias)
            assert (parts[kept] - both).abs().max() > 1e-6
    torch.testing.assert_close(parts[0] + parts[1], both, rtol=1e-4, atol=1e-5)


def test_it_trains_on_a_single_patch():
    model = small().train()
    model(patch(batch=1, side=16))["logits"].square().mean().backward()
    norm = model.heads[0].pools[0][2]
    assert norm.weight.grad is not None
    assert int(norm.num_batches_tracked) == 0


# Size


PAPER = [(name, preset) for name in NAMES for preset in ("paper-ab", "paper-bw")]


def at_paper_size(name, preset):
    recipe = load_recipe(name, preset)
    bands = {"msi": 4, "sar": 2, "hsi": 242 if preset == "paper-ab" else 116}
    return recipe, {m: c for m, c in bands.items() if recipe.inputs == "all" or m in recipe.inputs}


@pytest.mark.parametrize(("name", "preset"), PAPER)
def test_parameters_are_those_counted_by_hand(name, preset):
    recipe, bands = at_paper_size(name, preset)
    assert set(bands) == NAMES[name]
    assert recipe.background == "trained"
    with torch.device("meta"):
        model = build_model(recipe.model, bands, OUTPUTS)
    hsi = bands.get("hsi", 0)
    groups = {
        "mrsn-1b": ((3,),), "mrsn-2b": ((3, 3),), "mrsn-3b": ((3, 3), (hsi,)), "mrsn": ((3, 3, 2), (hsi,)),
    }[name]  # fmt: skip
    assert sum(p.numel() for p in model.parameters()) == counting.mrsn(groups, OUTPUTS)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "preset"), PAPER)
def test_a_forward_and_a_step_at_the_true_size(name, preset):
    recipe, bands = at_paper_size(name, preset)
    side = 128 if preset == "paper-ab" else 256
    assert recipe.training.sampling.patch_px == recipe.prediction.window_px == side
    torch.manual_seed(0)
    model = place(build_model(recipe.model, bands, OUTPUTS), torch.device("cpu"))
    inputs = {n: torch.randn(1, c, side, side).contiguous(memory_format=torch.channels_last) for n, c in bands.items()}
    with torch.inference_mode():
        logits = model.eval()(inputs)["logits"]
    assert logits.shape == (1, OUTPUTS, side, side)
    assert logits.isfinite().all()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    context = MethodContext(model.train(), recipe.training, OUTPUTS, None, torch.device("cpu"), background=True)
    training_method = METHODS["supervised"](context)
    targets = torch.randint(OUTPUTS, (1, side, side))
    losses = training_method.step(Batch(inputs, torch.ones(1, side, side, dtype=torch.bool), targets), None)
    assert set(losses) == {"loss", "cross_entropy", "dice"}
    # Hardly more than chance at the start: log(14) / 14 and half of a Dice of about 1/14.
    assert 0.1 < losses["cross_entropy"] < 0.5
    assert 0.4 < losses["dice"] < 0.5
    still = [n for n, p in model.named_parameters() if torch.equal(p.detach(), before[n])]
    assert not still


# Weights


def test_timms_weights_fill_every_trunk(tmp_path):
    import timm

    torch.manual_seed(5)
    whole = timm.create_model("convnext_atto").state_dict()
    torch.save(dict(whole), tmp_path / "weights.pth")
    model = small()
    inputs = {"msi": specs("blue", "green", "red", "nir"), "sar": specs(None, None), "hsi": specs(*[None] * 7)}
    report = load_pretrained(model, str(tmp_path / "weights.pth"), inputs)
    assert report.missing == ()
    kept = [n for n in whole if n.startswith("stem") or n.startswith(("stages.0", "stages.1", "stages.2"))]
    assert len(report.loaded) == 4 * len(kept)
    assert {"stages.3.blocks.0.gamma", "head.fc.weight"} <= set(report.unused)
    stem = whole["stem.0.weight"]  # red, green, blue
    torch.testing.assert_close(model.trunks["rgb"].stem[0].weight, stem[:, [2, 1, 0]])
    mean = stem.mean(dim=1)
    torch.testing.assert_close(model.trunks["gbnir"].stem[0].weight[:, 2], mean)
    torch.testing.assert_close(model.trunks["sar"].stem[0].weight[:, 0], 1.5 * mean)
    assert "rgb: msi red + green + blue; sar: sar 2 bands by the mean of RGB" in report.first
    for name, trunk in model.trunks.items():
        assert torch.equal(trunk.stages[2].blocks[5].gamma, whole["stages.2.blocks.5.gamma"]), name
    assert f"{len(report.loaded)} of {len(report.loaded)} tensors" in report.line


def test_stems_as_released_are_the_files_or_random(tmp_path):
    import timm

    torch.manual_seed(5)
    whole = timm.create_model("convnext_atto").state_dict()
    torch.save(dict(whole), tmp_path / "weights.pth")
    model = small(stems="released")
    drawn = {name: trunk.stem[0].weight.detach().clone() for name, trunk in model.trunks.items()}
    inputs = {"msi": specs("blue", "green", "red", "nir"), "sar": specs(None, None), "hsi": specs(*[None] * 7)}
    report = load_pretrained(model, str(tmp_path / "weights.pth"), inputs)
    for name in ("rgb", "gbnir"):  # whatever the three bands show
        assert torch.equal(model.trunks[name].stem[0].weight, whole["stem.0.weight"])
    for name in ("sar", "hsi"):
        assert torch.equal(model.trunks[name].stem[0].weight, drawn[name])
    assert report.missing == ("sar.stem.0.weight", "hsi.stem.0.weight")
    assert "rgb: as in the file; sar: not loaded, random" in report.first


def test_the_last_resize_aligns_corners_as_released():
    torch.manual_seed(0)
    maps = {}
    for aligned in (False, True):
        model = small(align_corners=aligned).eval()
        with torch.inference_mode():
            maps[aligned] = model(patch())["logits"]
    assert not torch.allclose(maps[True], maps[False])
    heads = []
    model = small(align_corners=True).eval()
    for head in model.heads:
        head.register_forward_hook(lambda _, __, outputs: heads.append(outputs[0]))
    with torch.inference_mode():
        logits = model(patch())["logits"]
    total = torch.stack(heads).sum(dim=0)
    for corner in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        torch.testing.assert_close(logits[..., *corner], total[..., *corner])


@pytest.mark.parametrize("name", NAMES)
def test_corners_are_aligned_where_windows_are_as_large_as_patches(name):
    for preset in ("tiny", "small", "paper-ab", "paper-bw"):
        recipe = load_recipe(name, preset)
        same = recipe.prediction.window_px == recipe.training.sampling.patch_px
        assert recipe.model.align_corners == same == preset.startswith("paper")


def test_the_weights_that_the_network_would_fetch_have_these_names(tmp_path):
    """The path of pretrained=imagenet, with the encoder that it would fetch built without its weights."""
    from safetensors.torch import save_file
    from segmentation_models_pytorch.encoders import get_encoder

    save_file(dict(get_encoder("tu-convnext_atto", weights=None).state_dict()), tmp_path / "w.safetensors")
    model = small(bands={"msi": 4})
    assert {part.name for part in model.encoder_parts({"msi": specs(*[None] * 4)}).values()} == {"tu-convnext_atto"}
    report = load_pretrained(model, str(tmp_path / "w.safetensors"), {"msi": specs(*[None] * 4)})
    assert report.missing == ()


def test_weights_of_another_network_are_an_error(tmp_path):
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7), "fc.bias": torch.zeros(1000)}, tmp_path / "resnet.pth")
    with pytest.raises(ModelFileError, match=r"no weight of .*resnet\.pth fits the encoder tu-convnext_atto"):
        load_pretrained(small(), str(tmp_path / "resnet.pth"), {n: specs(*[None] * c) for n, c in BANDS.items()})


# Whole runs


@pytest.mark.slow
def test_a_model_file_maps_with_the_bands_it_was_learnt_on(make_city, tmp_path, capsys):
    """Roles in another order than the published one: the network is built again from the file with the same bands."""
    city = make_city("odd")
    roles = ", ".join(f"{{role: {role}}}" for role in ("nir", "red", "green", "blue"))
    rasters = f"msi: {{file: msi.tif, bands: [{roles}]}}, sar: {{file: sar.tif}}, hsi: {{file: hsi.tif}}"
    (city / "city.yaml").write_text(f"modalities: {{{rasters}}}\nlabel: label.tif\n")
    sets = [
        "model={encoder: convnext_atto, channels: 8}", "training={iterations: 3, schedule: {name: step, every: 2}}",
        "training.sampling={patch_px: 16, batch_size: 2}", "prediction={window_px: 32, tta: false}", "training.ema_decay=0.5",
        "validation.folds=0",
    ]  # fmt: skip
    options = [part for text in sets for part in ("--set", text)]
    assert run(["fit", "mrsn", "--source", str(city), "--out", str(tmp_path / "run"), "--json", *options]) == 0
    assert not any("colors" in note for note in json.loads(capsys.readouterr().out)["notes"])
    loaded = read_model_file(tmp_path / "run" / "model.safetensors")
    assert loaded.header.recipe.model.colors == {"blue": 3, "green": 2, "red": 1, "nir": 0}
    network = load(loaded, BackendOptions("cpu")).model.networks[0]
    assert network.branches["gbnir"] == (("msi", 3), ("msi", 2), ("msi", 0))
    model = str(tmp_path / "run" / "model.safetensors")
    assert run(["predict", model, str(city), "--out", str(tmp_path / "map.tif")]) == 0
    with rasterio.open(tmp_path / "map.tif") as dataset:
        assert set(np.unique(dataset.read())) <= set(range(CLASSES + 1))


def test_what_is_guessed_of_the_bands_is_told(make_city, tmp_path, capsys):
    city = make_city("plain", modalities=("msi",))
    sets = [
        "model={encoder: convnext_atto, channels: 8}",
        "training={iterations: 1, sampling: {patch_px: 16, batch_size: 2}}",
    ]
    options = [part for text in (*sets, "validation.folds=0") for part in ("--set", text)]
    assert run(["fit", "mrsn", "--source", str(city), "--out", str(tmp_path / "run"), *options]) == 0
    assert "the colors of msi are not known: its bands are taken as blue, green, red, nir" in capsys.readouterr().err
