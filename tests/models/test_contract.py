"""What every network must do, as ``c2seg.testing`` tells it. A new model joins with a line in SETTINGS."""

from __future__ import annotations

import pytest

from c2seg.data.physical_layers import OPTICAL, RADAR
from c2seg.errors import InputError
from c2seg.models import MODELS, build_model
from c2seg.recipes.models import (
    DeepLabV3PlusModel,
    GalileoModel,
    HighDANModel,
    HRNetModel,
    MMGLOTSModel,
    MMUDAModel,
    MRSNModel,
    SegFormerModel,
    SegNetModel,
    UNetModel,
)
from c2seg.testing import MODEL_CHECKS, ModelCase
from helpers.small_networks import MMGLOTS

HRNET = {"width": 6, "blocks": (1, 1, 1, 1), "modules": (1, 1, 1), "bottleneck": 6}
SETTINGS = {
    "unet": UNetModel(widths=(6, 8, 10)),
    "unet-group": UNetModel(widths=(8, 8), norm="group"),
    "unet-sum": UNetModel(widths=(6, 8, 10), decoder="sum"),
    "unet-timm": UNetModel(widths=(6, 8, 10, 12), decoder="sum", encoder="tf_efficientnet_lite0"),
    "unet-timm-2": UNetModel(widths=(6, 8, 10), encoder="tf_efficientnet_lite0", scale=2),
    "unet-timm-4": UNetModel(widths=(6, 8), decoder="sum", encoder="convnext_atto"),
    "galileo": GalileoModel(token_px=2, grid=4, channels=8),
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
NEEDED = {"mmglots": ("msi",)}  # modalities without which a network cannot be built
PHYSICAL = {"msi": 4, OPTICAL: 10, RADAR: 2}
CASES = {
    name: ModelCase(settings, needs=NEEDED.get(settings.name, ()), **({"bands": PHYSICAL} if settings.physical else {}))
    for name, settings in SETTINGS.items()
}


def test_every_model_is_covered():
    assert {s.name for s in SETTINGS.values()} == set(MODELS)


QUICK = {"unet", "unet-group", "unet-sum", "unet-timm-2", "segnet", "hrnet", "mmuda-shared", "highdan-plain"}
OVERFIT = "a_few_steps_overfit_one_patch"  # seconds each: slow but for small networks


def cases():
    for check in MODEL_CHECKS:
        for name in CASES:
            slow = check.__name__ == OVERFIT and name not in QUICK
            yield pytest.param(check, name, id=f"{check.__name__}-{name}", marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize(("check", "name"), list(cases()))
def test_contract(check, name):
    check(CASES[name])


def test_unknown_networks_are_refused():
    with pytest.raises(InputError, match="unknown network"):
        build_model(type("Settings", (), {"name": "vit"}), {"msi": 4}, 5)
