"""What a recipe may say of its network or forest: one class of settings for each.

No torch here: a recipe is checked before anything heavy is imported.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from c2seg.data.physical_layers import OPTICAL, RADAR
from c2seg.recipes.plugged import ModelSettings, Open, Strict

__all__ = [
    "DeepLabV3PlusModel",
    "ForestModel",
    "GalileoModel",
    "HRNetModel",
    "HRNetTrunk",
    "HighDANModel",
    "MMGLOTSModel",
    "MMUDAModel",
    "MRSNModel",
    "Model",
    "SegFormerModel",
    "SegNetModel",
    "Strict",
    "UNetModel",
]


MOST_CHANNELS = 16_384
"""Of one layer, and the largest count in the settings of a network. Wider ones are mistakes, or made to exhaust the memory."""
Width = Annotated[int, Field(ge=1, le=MOST_CHANNELS)]
Count = Annotated[int, Field(ge=1, le=100)]
"""Of layers, blocks or heads."""


class ForestModel(ModelSettings):
    """A random forest on per-pixel features: bands, local means and local standard deviations."""

    name: Literal["forest"] = "forest"
    trees: int = Field(default=200, ge=1, le=100_000)
    max_depth: int | None = Field(default=None, ge=1)
    min_leaf_px: int = Field(default=5, ge=1)
    """Least training pixels in a leaf."""
    mean_px: tuple[int, ...] = Field(default=(3, 9, 21), max_length=32)
    """Sides of the square windows of the local means; odd."""
    std_px: tuple[int, ...] = Field(default=(7,), max_length=32)
    """Sides of the square windows of the local standard deviations; odd."""
    max_bands: int = Field(default=16, ge=1)
    """A modality with more bands is projected on this many principal components of the source."""
    pixels_per_class: int = Field(default=5000, ge=1)
    """At most about this many training pixels of each class, drawn evenly over the city."""
    radiometric_augmentations: int = Field(default=0, ge=0, le=10)
    """Copies of the training pixels that are trained on as well, with random gains and offsets of their bands."""
    gain_std: float = Field(default=0.15, ge=0)
    """Deviation of the gains in augmented copies, around 1; of a band about its mean."""
    offset_std: float = Field(default=0.25, ge=0)
    """Deviation of the offsets in augmented copies, in deviations of the band."""

    @model_validator(mode="after")
    def _odd(self) -> ForestModel:
        wrong = [size for size in (*self.mean_px, *self.std_px) if not 3 <= size <= 513 or size % 2 == 0]
        if wrong:
            raise ValueError(f"window sides must be odd and 3 to 513, found {wrong}")
        return self


class UNetModel(ModelSettings):
    """U-Net (Ronneberger et al. 2015) with batch normalization; all modalities are stacked at the input."""

    name: Literal["unet"] = "unet"
    widths: tuple[Width, ...] = Field(default=(64, 128, 256, 512, 1024), max_length=10)
    """Channels by level, finest first; each level halves the resolution."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    norm: Literal["batch", "group"] = "batch"
    """Batch normalization, or group normalization (8 groups), which does not depend on the batch."""
    decoder: Literal["concat", "sum"] = "concat"
    """The original decoder, or a light one that adds the skips and has one convolution a level."""
    encoder: str | None = None
    """A network of another library as the encoder: its first levels, one for each of the widths, which are then the
    decoder's alone. timm:NAME (or the name alone), torchgeo:NAME, terratorch:NAME, or of a plug-in. ukis-csmask: a whole U-Net
    on six bands of reflectance, with a decoder of its own; widths and decoder say nothing then. null: double convolutions."""
    scale: Literal[1, 2, 4] = 1
    """Factor by which the input is enlarged before such an encoder, whose finest level has half its input's resolution or
    less."""
    pretrained: str | None = None
    """First weights of the encoder: null, imagenet (fetched), a .safetensors or .pth file; for ukis-csmask also ukis-csmask
    (those of the package)."""
    pretrained_bands: tuple[str | float, ...] = Field(default=(), max_length=1000)
    """The bands of the first convolution in the file of weights, by role or wavelength in nm, where they are not red, green,
    blue: ours take the weights of the band that they are."""

    @model_validator(mode="after")
    def _levels(self) -> UNetModel:
        if len(self.widths) < 2:
            raise ValueError(f"widths needs at least two levels, found {self.widths}")
        if self.encoder is None and (self.pretrained is not None or self.scale != 1):
            raise ValueError("pretrained and scale belong to an encoder of timm: name one, or leave them out")
        return self

    @property
    def physical(self) -> tuple[str, ...]:
        """Reflectance, for the encoder that was trained on it."""
        return (OPTICAL,) if self.encoder == "ukis-csmask" else ()


class SegNetModel(ModelSettings):
    """SegNet (Badrinarayanan et al. 2017): VGG16 with batch normalization, mirrored with max-unpooling."""

    name: Literal["segnet"] = "segnet"
    width: float = Field(default=1.0, gt=0, le=16)
    """Factor on the channels of all layers (at least 8 each); 1 is the published network."""
    pretrained: str | None = None
    """First weights of the encoder (width 1 only): null, imagenet (fetched), or a .safetensors or .pth file."""


class DeepLabV3PlusModel(ModelSettings):
    """DeepLabv3+ (Chen et al. 2018): dilated encoder, atrous spatial pyramid pooling, decoder at a quarter."""

    name: Literal["deeplabv3plus"] = "deeplabv3plus"
    encoder: str = "resnet50"
    """An encoder of segmentation-models-pytorch (resnet18, resnet50, resnet101, ...) or a model of timm."""
    output_stride: Literal[8, 16] = 16
    """Pixels of the input per pixel of the encoder's last map."""
    rates: tuple[Width, Width, Width] = (6, 12, 18)
    """Dilations of the pyramid."""
    channels: Width = 256
    """Channels of pyramid and decoder."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    pretrained: str | None = None
    """First weights of the encoder: null, imagenet (fetched), or a .safetensors or .pth file."""


class SegFormerModel(ModelSettings):
    """SegFormer (Xie et al. 2021): Mix Transformer encoder, all-MLP decoder at a quarter of the resolution."""

    name: Literal["segformer"] = "segformer"
    encoder: Literal["mit_b0", "mit_b1", "mit_b2", "mit_b3", "mit_b4", "mit_b5"] = "mit_b2"
    channels: Width = 256
    """Channels of the decoder."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    pretrained: str | None = None
    """First weights of the encoder: null, imagenet (fetched), or a .safetensors or .pth file."""


class MRSNModel(ModelSettings):
    """MRSN (third place of the challenge): a ConvNeXt per group of bands, fused before and after UPerNet heads."""

    name: Literal["mrsn"] = "mrsn"
    branches: Literal[1, 2, 3, 4] = 4
    """1: RGB. 2: RGB, and near infrared with SAR. 3: these and HSI. 4: green-blue-near infrared, RGB, SAR, HSI."""
    fusion: Literal["plus", "cat"] = "plus"
    """``plus``: HSI has a head of its own and the logits are added; ``cat``: one head on all branches."""
    encoder: str = "convnext_small.fb_in1k"
    """A ConvNeXt of timm; its first three stages are used."""
    stem_upsample: bool = True
    """Double the maps behind the stem, so that the finest ones are at half the resolution instead of a quarter."""
    channels: Width = 128
    """Channels of the heads."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    align_corners: bool = False
    """Of the last resize, from the heads' logits to the input, as released. The pixels of a map then lie where training saw
    them only in windows of ``patch_px``."""
    stems: Literal["fitted", "released"] = "fitted"
    """First weights of the stems, with ``pretrained``: fitted to the bands by their colors; or, as released, those of the file
    as they are for branches of three bands (whatever these show), random for others."""
    colors: dict[Literal["blue", "green", "red", "nir"], Annotated[int, Field(ge=0)]] | None = None
    """Positions (from 0) of the colors in ``msi``; null: by the bands' roles or wavelengths, filled in when a model is
    trained; where these are unknown, blue, green, red, near infrared in this order."""
    pretrained: str | None = None
    """First weights of every trunk: null, imagenet (fetched), or a .safetensors or .pth file."""


class MMGLOTSModel(ModelSettings):
    """MMGLOTS, the challenge's winner: BEiT on the MSI, a residual network on each other modality, fusion at four levels,
    and a decoder of window and global attention."""

    name: Literal["mmglots"] = "mmglots"
    scale: float = Field(default=5.0, ge=0.25, le=16)
    """Factor by which inputs are enlarged inside the network (5 for AB tiles, 2.5 for BW); a multiple of 0.25."""
    enlarges: Literal["always", "prediction"] = "always"
    """``prediction``: patches of a training come enlarged, by ``training.augment.enlarge``, which must equal ``scale``."""
    input_px: int = Field(default=640, ge=32, le=4096, multiple_of=16)
    """Side of the enlarged patch for which BEiT has its tables of relative positions; other sizes work too."""
    width: int = Field(default=768, ge=8, le=MOST_CHANNELS)
    """Channels of BEiT, of the fused maps and of the decoder."""
    heads: Width = 12
    """Attention heads of BEiT."""
    taps: tuple[Count, Count, Count, Count] = (4, 6, 8, 12)
    """Blocks of BEiT, counted from 1, that feed the levels, finest first; it has no blocks after the last."""
    cnn_blocks: tuple[Count, Count, Count, Count] = (3, 4, 6, 3)
    """Residual blocks by stage of the other modalities' encoders."""
    cnn_widths: tuple[Width, Width, Width, Width] = (64, 128, 256, 512)
    """Their channels by stage."""
    share_stages: bool = False
    """The paper's reading: the other modalities share their encoder except the stem; else each has an encoder of its own,
    as released."""
    fusion: Literal["softmax", "sum"] = "softmax"
    """Weights of the modalities by level: softmax of trained numbers (as released), or 1 for MSI and trained ones (paper)."""
    decoder_blocks: tuple[Count, Count, Count, Count] = (1, 1, 3, 1)
    """Window blocks by stage, coarsest first; every second one of a stage is shifted. As released; [2, 2, 2, 2] alternates
    in every stage (paper)."""
    decoder_heads: tuple[Count, Count, Count, Count] = (3, 6, 12, 24)
    """Attention heads by stage; the global block takes the last."""
    window: int = Field(default=7, ge=2, le=64)
    """Side of the attention windows of the decoder."""
    upsampling: Literal["transposed", "bilinear"] = "transposed"
    """Between stages: transposed convolution (as released) or bilinear (paper)."""
    aux_channels: Width = 256
    """Channels of the auxiliary head."""
    aux_sees_decoder: bool = False
    """The auxiliary head reads its level after the coarser stage was added (as released by accident)."""
    drop_path: float = Field(default=0.1, ge=0, lt=1)
    """Largest rate of stochastic depth, of BEiT and of the decoder."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Before the classifiers."""
    pretrained: str | None = None
    """First weights of BEiT: null, imagenet (fetched), or a .safetensors or .pth file."""

    @model_validator(mode="after")
    def _sizes(self) -> MMGLOTSModel:
        if self.scale % 0.25:
            raise ValueError(f"scale must be a multiple of 0.25, found {self.scale}")
        if list(self.taps) != sorted(set(self.taps)):
            raise ValueError(f"taps must rise, found {self.taps}")
        if min(self.cnn_widths) < 2:
            raise ValueError("cnn_widths must be at least 2")
        uneven = [heads for heads in (self.heads, *self.decoder_heads) if self.width % heads]
        if uneven or self.cnn_widths[0] % 2:
            raise ValueError(
                f"width ({self.width}) must be a multiple of all heads and cnn_widths[0] even, found {uneven}"
            )
        return self


class HRNetTrunk(ModelSettings):
    """A high-resolution network (Sun et al. 2019; Wang et al., TPAMI 2020): four branches, each half as fine as the one
    before and twice as wide, which are fused again and again."""

    name: str = "hrnet"
    width: Width = 48
    """Channels of the finest branch: 48, 32 and 18 are the published W48, W32 and W18."""
    blocks: tuple[Count, Count, Count, Count] = (4, 4, 4, 4)
    """Bottlenecks of the first stage, then residual blocks of every branch in each module of stages 2, 3 and 4."""
    modules: tuple[Count, Count, Count] = (1, 4, 3)
    """Modules of stages 2, 3 and 4."""
    bottleneck: Width = 64
    """Inner channels of the first stage's bottlenecks; four times as many come out."""


class HRNetModel(HRNetTrunk):
    """Seg-HRNet (Wang et al., TPAMI 2020): four branches resampled to a quarter and concatenated; modalities are stacked."""

    name: Literal["hrnet"] = "hrnet"
    pretrained: str | None = None
    """First weights of the trunk: null, imagenet (fetched; widths 18, 30, 32, 40, 44, 48, 64), or a .safetensors or .pth
    file."""


class MMUDAModel(HRNetTrunk):
    """The second place's generator: a high-resolution trunk on all modalities and one on each, summed scale by scale."""

    name: Literal["mmuda"] = "mmuda"
    specific: bool = True
    """A trunk for each modality besides the shared one. ``false``: the shared trunk alone, which is all that reaches the
    decoder in the released code."""
    decoder: Literal["fpn", "concat"] = "fpn"
    """``fpn``: top-down sums and four dilated convolutions; ``concat``: scales concatenated and one convolution, as in
    the paper."""
    channels: Width = 64
    """Channels of the feature pyramid."""


class HighDANModel(HRNetTrunk):
    """HighDAN (Hong et al. 2023): a stem for each modality, one high-resolution trunk for all, attention by a discriminator."""

    name: Literal["highdan"] = "highdan"
    blocks: tuple[Count, Count, Count, Count] = (4, 4, 3, 1)
    """The first is the number of bottlenecks of each modality's own stage; (4, 4, 4, 4) is the paper's text."""
    modules: tuple[Count, Count, Count] = (1, 1, 1)
    bottlenecks: bool = True
    """Bottlenecks between stem and trunk; ``false`` leaves them out (an ablation of the paper)."""
    max_bands: int = Field(default=10, ge=1)
    """A modality with more bands is projected on this many principal components of the source."""
    head: tuple[Width, Width, Width] = (256, 128, 64)
    """Channels of the head's convolutions."""
    attention: bool = True
    """Weigh the target's features by the output of the discriminator on features; part of feature-level adaptation."""
    bn_momentum: float = Field(default=0.01, gt=0, le=1)
    """Weight of a batch in the running statistics; short trainings need more than the released code's 0.01."""
    pretrained: str | None = None
    """First weights of bottlenecks and trunk: null, imagenet (fetched), or a .safetensors or .pth file."""


class GalileoModel(ModelSettings):
    """Galileo (Tseng et al. 2025), nano: a transformer on patches of Sentinel-1 and Sentinel-2, and a light decoder."""

    name: Literal["galileo"] = "galileo"
    token_px: int = Field(default=4, ge=1, le=8)
    """Side of a token's patch; the encoder was trained on 1 to 8."""
    grid: int = Field(default=12, ge=1, le=24)
    """Tokens along a side that see each other; it was trained on 4 to 12. The input is cut into such squares."""
    month: int = Field(default=6, ge=1, le=12)
    """Month of the images, which the encoder is told."""
    resolution_m: float = Field(default=10.0, gt=0, le=1000)
    """Side of a pixel, which the encoder is told."""
    channels: Width = 64
    """Channels of the decoder."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    pretrained: str | None = None
    """First weights of the encoder: null, ``galileo-nano`` (the published ones, which come with this package), or a file."""

    @property
    def physical(self) -> tuple[str, ...]:
        """Reflectance and backscatter, as far as the cities have them."""
        return (OPTICAL, RADAR)


_BUILT_IN = Annotated[
    ForestModel
    | UNetModel
    | SegNetModel
    | DeepLabV3PlusModel
    | SegFormerModel
    | MRSNModel
    | MMGLOTSModel
    | HRNetModel
    | MMUDAModel
    | HighDANModel
    | GalileoModel,
    Field(discriminator="name"),
]

Model = Annotated[ModelSettings, Open("models", _BUILT_IN)]
"""One of ours, or the settings of a plug-in."""
