"""The U-Net of the package ukis-csmask (Wieland et al., RSE 230, 2019): EfficientNet-B4 on six bands of reflectance.

It was trained on clouds in Landsat and Sentinel-2; here it is fine-tuned. Axes: B batch, C channel, K class, H row, W column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from c2seg.data import Band
from c2seg.data.physical_layers import LAYERS, OPTICAL
from c2seg.errors import InputError, ModelFileError, install_command, needs_extra
from c2seg.models.encoder_part import EncoderPart

__all__ = ["ENCODER", "UkisUNet", "packaged_weights"]

ENCODER = "ukis-csmask"
"""Name in a recipe: of the network, and of its weights in the package."""

BANDS = ("B02", "B03", "B04", "B08", "B11", "B12")
# Of its training images, from model_6b_l2a.json of the package.
_MEAN = (0.266818, 0.277991, 0.288120, 0.364947, 0.222571, 0.178590)
_STD = (0.336376, 0.312546, 0.311148, 0.272607, 0.166537, 0.143290)
_NETWORK = "efficientnet-b4"
_WIDTHS = (256, 128, 64, 32, 16)
_MOMENTUM = 0.1  # of batch statistics; the original's 0.01 would take thousands of steps to leave the clouds behind


class UkisUNet(nn.Module):
    """Encoder and decoder as trained, a new classifier, and light adapters for all other bands.

    The six bands come from the layer of reflectance; what is 0 there (no data) becomes the training images' mean. Other
    modalities enter twice, by convolutions that start at 0, so that the start equals the pretrained network: 1 x 1 into
    the six inputs, and 3 x 3 into the decoder's last maps, at full resolution. The input is enlarged ``scale`` times.
    """

    places: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, bands: Mapping[str, int], num_classes: int, dropout: float = 0.0, scale: int = 1) -> None:
        super().__init__()
        with needs_extra("the encoder ukis-csmask", "train"):
            from segmentation_models_pytorch import Unet
        if bands.get(OPTICAL) != len(LAYERS[OPTICAL]):
            raise InputError(
                f"model.encoder={ENCODER} needs the modality {OPTICAL}: reflectance, made of optical bands with known "
                "wavelengths or roles; `c2seg inspect` tells the bands"
            )
        net = Unet(_NETWORK, encoder_weights=None, in_channels=len(BANDS), decoder_channels=_WIDTHS)
        for unused in ("_conv_head", "_bn1"):  # of the classifier that the encoder once had
            setattr(net.encoder, unused, nn.Identity())
        self.encoder = nn.ModuleDict({"encoder": net.encoder, "decoder": net.decoder})
        self.scale, self.stride_px, self.feature_channels = scale, max(1, 32 // scale), 2 * _WIDTHS[-1]
        self.others = tuple(name for name in bands if name != OPTICAL)
        count = sum(bands[name] for name in self.others)
        self.stem_adapter = _zero(nn.Conv2d(count, len(BANDS), 1)) if count else None
        self.late_adapter = _zero(nn.Conv2d(count, _WIDTHS[-1], 3, padding=1)) if count else None
        self.last = nn.Sequential(
            nn.Conv2d(_WIDTHS[-1], self.feature_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(self.feature_channels),
            nn.ReLU(inplace=True),
        )
        self.dropout = nn.Dropout2d(dropout)
        self.head = nn.Conv2d(self.feature_channels, num_classes, 1)
        places = [[band.name for band in LAYERS[OPTICAL]].index(name) for name in BANDS]
        self.register_buffer("places", torch.tensor(places), persistent=False)
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(1, -1, 1, 1), persistent=False)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = _MOMENTUM

    def forward(self, patch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``logits`` [B, K, H, W] and ``features`` [B, 32, H, W], the last feature maps before the classifier."""
        maps, rest = self.standardized(patch[OPTICAL]), None
        if self.stem_adapter is not None and self.late_adapter is not None:
            rest = torch.cat([patch[name] for name in self.others], dim=1)
            maps = maps + self.stem_adapter(rest)
        if self.scale > 1:
            maps = F.interpolate(maps, scale_factor=self.scale, mode="bilinear", align_corners=False)
        maps = self.encoder["decoder"](self.encoder["encoder"](maps))
        if self.scale > 1:
            maps = F.avg_pool2d(maps, self.scale)
        if rest is not None and self.late_adapter is not None:
            maps = maps + self.late_adapter(rest)
        features = self.last(maps)
        return {"logits": self.head(self.dropout(features)), "features": features}

    def standardized(self, layer: Tensor) -> Tensor:
        """Return the six bands [B, 6, H, W] of the layer of reflectance as the network was trained on them."""
        values = layer[:, self.places]
        standard: Tensor = (values - self.mean) / self.std
        return standard * (values != 0)

    def encoder_parts(self, inputs: Mapping[str, Sequence[Band]]) -> dict[str, EncoderPart]:
        """Return what pretrained weights fill: encoder and decoder, on six bands."""
        six = [band for band in LAYERS[OPTICAL] if band.name in BANDS]
        return {"": EncoderPart(self.encoder, ENCODER, {OPTICAL: six})}

    def encoder_file(self, source: str) -> Path | None:
        """Return the file of weights that a name stands for; None for other names."""
        return packaged_weights() if source == ENCODER else None


def packaged_weights() -> Path:
    """Return the file of weights for six bands of Level-2A in the installed package; ModelFileError without it.

    The package is not imported: it would ask for a runtime.
    """
    spec = find_spec("ukis_csmask")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    file = Path(folders[0]) / "model_6b_l2a.onnx" if folders else None
    if file is None or not file.is_file():
        raise ModelFileError(
            f"model.pretrained={ENCODER}: the package ukis-csmask is not installed: {install_command('ukis')}; "
            "or give a file, or use random weights, model.pretrained=null"
        )
    return file


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
