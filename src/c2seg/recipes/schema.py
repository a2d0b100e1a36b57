"""What a recipe may say. Every key has a type, a default and a meaning; an unknown key is an error.

No torch here: a recipe is checked before anything heavy is imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from c2seg.data.normalise import Normalisation
from c2seg.errors import unknown_name

__all__ = [
    "AdversarialMethod",
    "Augmentation",
    "Critic",
    "DeepLabV3PlusModel",
    "DiceKind",
    "ForestModel",
    "ForestShare",
    "HRNetModel",
    "HRNetTrunk",
    "HighDANModel",
    "Loss",
    "MMGLOTSModel",
    "MMUDAModel",
    "MRSNModel",
    "Member",
    "Method",
    "Model",
    "Optimiser",
    "Phase",
    "Prediction",
    "PseudoLabelMethod",
    "Recipe",
    "Sampling",
    "Schedule",
    "SegFormerModel",
    "SegNetModel",
    "Strict",
    "SupervisedMethod",
    "Training",
    "UNetModel",
    "Validation",
    "Variation",
    "overlay",
]


class Strict(BaseModel):
    """A frozen model that refuses unknown keys and says which exist."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, content: Any) -> Any:
        if isinstance(content, dict):
            for key in content:
                if key not in cls.model_fields:
                    raise ValueError(unknown_name("key", str(key), cls.model_fields))
        return content


class ForestModel(Strict):
    """A random forest on per-pixel features: bands, local means and local standard deviations."""

    name: Literal["forest"] = "forest"
    trees: int = Field(default=200, ge=1)
    max_depth: int | None = Field(default=None, ge=1)
    min_leaf_px: int = Field(default=5, ge=1)
    """Least training pixels in a leaf."""
    mean_px: tuple[int, ...] = (3, 9, 21)
    """Sides of the square windows of the local means; odd."""
    std_px: tuple[int, ...] = (7,)
    """Sides of the square windows of the local standard deviations; odd."""
    max_bands: int = Field(default=16, ge=1)
    """A modality with more bands is projected on this many principal components of the source."""
    pixels_per_class: int = Field(default=5000, ge=1)
    """At most about this many training pixels of each class, drawn evenly over the city."""

    @model_validator(mode="after")
    def _odd(self) -> ForestModel:
        even = [size for size in (*self.mean_px, *self.std_px) if size < 3 or size % 2 == 0]
        if even:
            raise ValueError(f"window sides must be odd and at least 3, found {even}")
        return self


class UNetModel(Strict):
    """U-Net (Ronneberger et al. 2015) with batch normalisation; all modalities are stacked at the input."""

    name: Literal["unet"] = "unet"
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    """Channels by level, finest first; each level halves the resolution."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    norm: Literal["batch", "group"] = "batch"
    """Batch normalisation, or group normalisation (8 groups), which does not depend on the batch."""
    decoder: Literal["concat", "sum"] = "concat"
    """The original decoder, or a light one that adds the skips and has one convolution a level."""

    @model_validator(mode="after")
    def _levels(self) -> UNetModel:
        if len(self.widths) < 2 or min(self.widths) < 1:
            raise ValueError(f"widths needs at least two levels of at least one channel, found {self.widths}")
        return self


class SegNetModel(Strict):
    """SegNet (Badrinarayanan et al. 2017): VGG16 with batch normalisation, mirrored with max-unpooling."""

    name: Literal["segnet"] = "segnet"
    width: float = Field(default=1.0, gt=0)
    """Factor on the channels of all layers (at least 8 each); 1 is the published network."""
    pretrained: str | None = None
    """First weights of the encoder (width 1 only): null, imagenet (fetched), or a .safetensors or .pth file."""


class DeepLabV3PlusModel(Strict):
    """DeepLabv3+ (Chen et al. 2018): dilated encoder, atrous spatial pyramid pooling, decoder at a quarter."""

    name: Literal["deeplabv3plus"] = "deeplabv3plus"
    encoder: str = "resnet50"
    """An encoder of segmentation-models-pytorch (resnet18, resnet50, resnet101, ...) or a model of timm."""
    output_stride: Literal[8, 16] = 16
    """Pixels of the input per pixel of the encoder's last map."""
    rates: tuple[int, int, int] = (6, 12, 18)
    """Dilations of the pyramid."""
    channels: int = Field(default=256, ge=1)
    """Channels of pyramid and decoder."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    pretrained: str | None = None
    """First weights of the encoder: null, imagenet (fetched), or a .safetensors or .pth file."""


class SegFormerModel(Strict):
    """SegFormer (Xie et al. 2021): Mix Transformer encoder, all-MLP decoder at a quarter of the resolution."""

    name: Literal["segformer"] = "segformer"
    encoder: Literal["mit_b0", "mit_b1", "mit_b2", "mit_b3", "mit_b4", "mit_b5"] = "mit_b2"
    channels: int = Field(default=256, ge=1)
    """Channels of the decoder."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    pretrained: str | None = None
    """First weights of the encoder: null, imagenet (fetched), or a .safetensors or .pth file."""


class MRSNModel(Strict):
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
    channels: int = Field(default=128, ge=1)
    """Channels of the heads."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    colours: dict[Literal["blue", "green", "red", "nir"], Annotated[int, Field(ge=0)]] | None = None
    """Positions (from 0) of the colours in ``msi``; null: by the bands' roles or wavelengths, filled in when a model is
    learnt; where these are unknown, blue, green, red, near infrared in this order."""
    pretrained: str | None = None
    """First weights of every trunk: null, imagenet (fetched), or a .safetensors or .pth file."""


class MMGLOTSModel(Strict):
    """MMGLOTS, the challenge's winner: BEiT on the MSI, a residual network on each other modality, fusion at four levels,
    and a decoder of window and global attention."""

    name: Literal["mmglots"] = "mmglots"
    scale: float = Field(default=5.0, ge=0.25)
    """Factor by which inputs are enlarged inside the network (5 for AB tiles, 2.5 for BW); a multiple of 0.25."""
    input_px: int = Field(default=640, ge=32, multiple_of=16)
    """Side of the enlarged patch for which BEiT has its tables of relative positions; other sizes work too."""
    width: int = Field(default=768, ge=8)
    """Channels of BEiT, of the fused maps and of the decoder."""
    heads: int = Field(default=12, ge=1)
    """Attention heads of BEiT."""
    taps: tuple[int, int, int, int] = (4, 6, 8, 12)
    """Blocks of BEiT, counted from 1, that feed the levels, finest first; it has no blocks after the last."""
    cnn_blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    """Residual blocks by stage of the other modalities' encoders."""
    cnn_widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    """Their channels by stage."""
    share_stages: bool = False
    """The paper's reading: the other modalities share their encoder but for the stem; else each has its own, as released."""
    fusion: Literal["softmax", "sum"] = "softmax"
    """Weights of the modalities by level: softmax of learnt numbers (as released), or 1 for MSI and learnt ones (paper)."""
    decoder_blocks: tuple[int, int, int, int] = (1, 1, 3, 1)
    """Window blocks by stage, coarsest first; every second one of a stage is shifted. As released; [2, 2, 2, 2] alternates
    in every stage (paper)."""
    decoder_heads: tuple[int, int, int, int] = (3, 6, 12, 24)
    """Attention heads by stage; the global block takes the last."""
    window: int = Field(default=7, ge=2)
    """Side of the attention windows of the decoder."""
    upsampling: Literal["transposed", "bilinear"] = "transposed"
    """Between stages: transposed convolution (as released) or bilinear (paper)."""
    aux_channels: int = Field(default=256, ge=1)
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
        if min(self.taps) < 1 or list(self.taps) != sorted(set(self.taps)):
            raise ValueError(f"taps must rise from at least 1, found {self.taps}")
        if min(*self.cnn_blocks, *self.decoder_blocks, *self.decoder_heads) < 1 or min(self.cnn_widths) < 2:
            raise ValueError("blocks and heads must be at least 1, cnn_widths at least 2")
        uneven = [heads for heads in (self.heads, *self.decoder_heads) if self.width % heads]
        if uneven or self.cnn_widths[0] % 2:
            raise ValueError(
                f"width ({self.width}) must be a multiple of all heads and cnn_widths[0] even, found {uneven}"
            )
        return self


class HRNetTrunk(Strict):
    """A high-resolution network (Sun et al. 2019; Wang et al., TPAMI 2020): four branches, each half as fine as the one
    before and twice as wide, which are fused again and again."""

    width: int = Field(default=48, ge=1)
    """Channels of the finest branch: 48, 32 and 18 are the published W48, W32 and W18."""
    blocks: tuple[int, int, int, int] = (4, 4, 4, 4)
    """Bottlenecks of the first stage, then residual blocks of every branch in each module of stages 2, 3 and 4."""
    modules: tuple[int, int, int] = (1, 4, 3)
    """Modules of stages 2, 3 and 4."""
    bottleneck: int = Field(default=64, ge=1)
    """Inner channels of the first stage's bottlenecks; four times as many come out."""

    @model_validator(mode="after")
    def _counts(self) -> HRNetTrunk:
        if min(*self.blocks, *self.modules) < 1:
            raise ValueError(f"blocks and modules must be at least 1, found {self.blocks} and {self.modules}")
        return self


class HRNetModel(HRNetTrunk):
    """Seg-HRNet (Wang et al., TPAMI 2020): four branches brought to a quarter and concatenated; modalities are stacked."""

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
    """``fpn``: top-down sums and four dilated convolutions; ``concat``: scales concatenated and one convolution, as the
    paper tells it."""
    channels: int = Field(default=64, ge=1)
    """Channels of the feature pyramid."""


class HighDANModel(HRNetTrunk):
    """HighDAN (Hong et al. 2023): a stem for each modality, one high-resolution trunk for all, attention by a critic."""

    name: Literal["highdan"] = "highdan"
    blocks: tuple[int, int, int, int] = (4, 4, 3, 1)
    """The first is the number of bottlenecks of each modality's own stage; (4, 4, 4, 4) is the paper's text."""
    modules: tuple[int, int, int] = (1, 1, 1)
    bottlenecks: bool = True
    """Bottlenecks between stem and trunk; ``false`` leaves them out (an ablation of the paper)."""
    max_bands: int = Field(default=10, ge=1)
    """A modality with more bands is projected on this many principal components of the source."""
    head: tuple[int, int, int] = (256, 128, 64)
    """Channels of the head's convolutions."""
    attention: bool = True
    """Weigh the target's features by what the critic on features says of them; part of feature-level adaptation."""
    pretrained: str | None = None
    """First weights of bottlenecks and trunk: null, imagenet (fetched), or a .safetensors or .pth file."""


Model = Annotated[
    ForestModel
    | UNetModel
    | SegNetModel
    | DeepLabV3PlusModel
    | SegFormerModel
    | MRSNModel
    | MMGLOTSModel
    | HRNetModel
    | MMUDAModel
    | HighDANModel,
    Field(discriminator="name"),
]


DiceKind = Literal["present", "all", "per_patch"]


class Loss(Strict):
    """The supervised loss, a weighted sum of terms over labelled, valid pixels."""

    cross_entropy: float = Field(default=1.0, ge=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    focal: float = Field(default=0.0, ge=0)
    focal_gamma: float = Field(default=2.0, ge=0)
    dice: float = Field(default=0.0, ge=0)
    dice_kind: DiceKind = "present"
    """Dice of the outputs present in a batch; of ``all`` outputs (MRSN); or ``per_patch``, summed over the classes, where
    pixels without label count as seen too (HighDAN)."""
    class_weights: Literal["none", "inverse", "inverse_sqrt"] = "none"
    """Weights by labelled pixels of the sources, with mean 1 over the classes present."""
    aux: float = Field(default=0.0, ge=0)
    """Weight of the same loss on the network's ``aux`` output, for networks that have one."""

    @model_validator(mode="after")
    def _some(self) -> Loss:
        if not (self.cross_entropy or self.focal or self.dice):
            raise ValueError("at least one of cross_entropy, focal and dice must be above 0")
        return self


class Optimiser(Strict):
    """How weights follow gradients."""

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = Field(default=1e-3, gt=0)
    encoder_factor: float = Field(default=1.0, gt=0)
    """Factor of the rate on the network's encoder, the part that can be pretrained."""
    weight_decay: float = Field(default=0.01, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of sgd; first beta of adam and adamw."""
    gradient_clip: float | None = Field(default=1.0, gt=0)
    """Largest norm of the gradient; null for none."""


class Schedule(Strict):
    """The learning rate over the iterations, as a factor of ``optimiser.lr``."""

    name: Literal["one_cycle", "poly", "cosine", "step", "constant"] = "one_cycle"
    warmup: float = Field(default=0.0, ge=0, lt=1)
    """Share of the iterations with linear warm-up (one_cycle has its own, 0.3)."""
    power: float = Field(default=0.9, gt=0)
    """Exponent of poly."""
    every: int = Field(default=1000, ge=1)
    """Iterations between two drops of step."""
    factor: float = Field(default=0.5, gt=0, le=1)
    """Factor of each drop of step."""


class Sampling(Strict):
    """Which patches a step sees."""

    patch_px: int = Field(default=128, ge=8)
    batch_size: int = Field(default=8, ge=1)
    balanced: float = Field(default=0.5, ge=0, le=1)
    """Share of patches centred near a pixel of a class drawn evenly; the rest are drawn evenly over the city."""
    ignore_edge_px: int = Field(default=0, ge=0, le=32)
    """Labels this close to another class teach nothing: the edges of map labels are the least reliable."""
    max_share: float | None = Field(default=None, gt=0, le=1)
    """A patch where one class covers this share of the labelled pixels, or more, is drawn again, up to ten times."""


class Augmentation(Strict):
    """Changes to a patch: geometry on all modalities alike; radiometry per band, in units of the band's deviation."""

    flips: bool = True
    rotations: bool = True
    """By multiples of 90 degrees."""
    zoom: tuple[float, float] | None = None
    """Range of a random factor of scale, drawn evenly: a window of patch_px / factor is resized to the patch."""
    gain_std: float = Field(default=0.0, ge=0)
    offset_std: float = Field(default=0.0, ge=0)
    noise_std: float = Field(default=0.0, ge=0)
    modality_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of patches in which one modality, drawn evenly, is blanked. Above 0 the model also maps cities that lack one."""

    @model_validator(mode="after")
    def _range(self) -> Augmentation:
        if self.zoom is not None and not 0.1 <= self.zoom[0] <= self.zoom[1] <= 10:
            raise ValueError(f"zoom must be two rising factors between 0.1 and 10, found {self.zoom}")
        return self


class SupervisedMethod(Strict):
    """Learn from the labelled sources alone."""

    name: Literal["supervised"] = "supervised"
    uses_target: ClassVar[bool] = False


class Critic(Strict):
    """A discriminator that tells source from target, and how much the network is to deceive it."""

    sees: Literal["entropy", "probability", "features"] = "entropy"
    """What it sees: weighted self-information of the class probabilities (Vu et al., CVPR 2019), the probabilities (Tsai et
    al., CVPR 2018), or the last features."""
    output: Literal["logits", "coarse", "aux"] = "logits"
    """Which of the model's outputs: ``coarse`` are the logits before they are brought to the input's grid, ``aux`` those of
    an auxiliary head, for models that have them. Not used on features."""
    weight: float = Field(default=0.001, gt=0)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    """Channels of its stride-2 convolutions; on features, three 3 x 3 convolutions halve the channels instead."""


class AdversarialMethod(Strict):
    """Learn from the sources while one or more critics cannot tell the target's outputs from the source's."""

    name: Literal["adversarial"] = "adversarial"
    uses_target: ClassVar[bool] = True
    critics: tuple[Critic, ...] = (Critic(),)
    objective: Literal["bce", "lsgan"] = "bce"
    """Binary cross-entropy, or least squares (Mao et al., ICCV 2017); source is 0, target is 1."""
    critic_scale: float = Field(default=0.5, gt=0)
    """Factor of each half of a critic's own loss: 0.5 in ADVENT, 1 in HighDAN."""
    begin: float = Field(default=0.0, ge=0, lt=1)
    """Share of the iterations that are learnt from the sources alone, before the critics join."""
    optimiser: Optimiser = Optimiser(name="adam", lr=1e-4, weight_decay=0, gradient_clip=None)
    """Of the critics."""

    @model_validator(mode="after")
    def _some(self) -> AdversarialMethod:
        if not self.critics:
            raise ValueError("adversarial learning needs at least one critic")
        return self


class PseudoLabelMethod(Strict):
    """Learn from the sources and from the target's surest pixels as the networks of the phase before label them.

    Class-balanced self-training (Zou et al., ECCV 2018): of the pixels mapped to a class the surest are kept, whatever the
    class, so that rare classes stay.
    """

    name: Literal["pseudo_labels"] = "pseudo_labels"
    uses_target: ClassVar[bool] = True
    keep: float = Field(default=0.5, gt=0, le=1)
    """Share of the pixels mapped to each class that are kept, the surest first."""
    agree: bool = True
    """Keep only pixels on whose class all networks of the phase before agree."""
    decision: Literal["argmax", "expected_iou"] = "argmax"
    """How a pixel's class follows from the networks' mean probabilities, as in ``prediction``."""
    target_share: float = Field(default=0.5, gt=0, lt=1)
    """Share of each batch's patches that come from the target."""


Method = Annotated[SupervisedMethod | AdversarialMethod | PseudoLabelMethod, Field(discriminator="name")]


Inputs = tuple[str, ...] | Literal["all"]


class Training(Strict):
    """The training of a network."""

    iterations: int = Field(default=20000, ge=1)
    method: Method = SupervisedMethod()
    loss: Loss = Loss()
    optimiser: Optimiser = Optimiser()
    schedule: Schedule = Schedule()
    sampling: Sampling = Sampling()
    augment: Augmentation = Augmentation()
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    """Decay of the averaged weights that are kept as the model; null keeps the last weights."""
    precision: Literal["32", "bf16", "16"] = "32"
    checkpoint_every: int = Field(default=200, ge=1)
    """Iterations between states from which ``--resume`` can go on."""


class Validation(Strict):
    """Interleaved guarded block folds over the source cities; 0 folds: none."""

    kind: Literal["blocks", "random_tiles"] = "blocks"
    """``random_tiles``: one random split of half-overlapping tiles, which leaks; only to reproduce published offline
    numbers. It needs no ``folds``."""
    tile_px: int = Field(default=128, ge=8)
    """Side of the tiles of ``random_tiles``."""
    folds: int = Field(default=0, ge=0, le=16)
    block_px: int | None = Field(default=None, ge=4)
    """Side of a block; null: a sixth of the scene's shorter side, at least four times the guard."""
    guard_px: int = Field(default=8, ge=0)

    @property
    def count(self) -> int:
        """Number of folds that are trained and tested."""
        return 1 if self.kind == "random_tiles" else self.folds

    @model_validator(mode="after")
    def _folds(self) -> Validation:
        if self.folds == 1:
            raise ValueError("folds must be 0 (no validation) or at least 2")
        return self


class Prediction(Strict):
    """How a city is mapped."""

    window_px: int = Field(default=256, ge=8)
    overlap_px: int | None = Field(default=None, ge=0)
    """Overlap of neighbouring windows; null: a quarter of the window (0 for models that need none)."""
    batch_size: int = Field(default=4, ge=1)
    tta: bool = False
    """Average over flips and rotations."""
    views: Literal[6, 8] = 8
    """How many: all 8, or the 6 of the challenge's second place (four rotations, two flips)."""
    temperature: float = Field(default=1.0, gt=0)
    """The networks' logits are divided by it before the softmax: below 1 for networks that are too unsure (smoothed labels
    and averaging make them so)."""
    decision: Literal["argmax", "expected_iou"] = "argmax"
    """How a pixel's class follows from the probabilities: the largest, or what maximises the expected mean IoU over the
    mapped city. The latter favours rare classes, as the challenge's score does; areas and overall accuracy do not like it."""

    @property
    def overlap(self) -> int:
        """Overlap in pixels with the default filled in."""
        return self.window_px // 4 if self.overlap_px is None else self.overlap_px

    @model_validator(mode="after")
    def _overlap(self) -> Prediction:
        if self.overlap_px is not None and self.overlap_px >= self.window_px:
            raise ValueError(f"overlap_px ({self.overlap_px}) must be smaller than window_px ({self.window_px})")
        return self


class Variation(Strict):
    """The recipe with some keys changed: what is not given is as in the recipe (``training`` and ``model`` key by key).

    A variation whose ``inputs`` name a modality that the cities lack is left out.
    """

    inputs: Inputs | None = None
    model: Model
    training: Training

    def taken(self, modalities: Sequence[str]) -> tuple[str, ...]:
        """Return the modalities that this variation takes of those of a run; none if it needs one that is not there."""
        if self.inputs is None or self.inputs == "all":
            return tuple(modalities)
        return self.inputs if all(name in modalities for name in self.inputs) else ()


class Phase(Variation):
    """One of several trainings that follow each other; the last one's network, or networks, are the model."""

    networks: int = Field(default=1, ge=1)
    """Networks that are trained in this phase, each with a seed of its own; together they label or map the target."""
    maps: bool = False
    """Keep this phase's networks in the model, beside those of the last phase."""
    share: float | None = Field(default=None, gt=0)
    """Iterations as a share of the recipe's ``training.iterations``; null: those of this phase's own ``training``."""
    start: dict[str, str | None] | None = None
    """First weights: part of this network -> ``phase`` or ``phase/part``, parts being module names such as
    ``trunks.msi`` (an empty name: the whole network), or null: random. null: all of the phase before; an empty mapping:
    random."""


class Member(Variation):
    """One network of an ensemble, with a seed of its own."""


class ForestShare(Strict):
    """A forest that maps together with the networks."""

    weight: float = Field(default=0.25, gt=0, lt=1)
    """Of its probabilities in the mean with those of the networks."""
    model: ForestModel = ForestModel()


class Recipe(Strict):
    """One experiment, complete: what goes in, what learns, how, and how the map is made."""

    name: str
    description: str = ""
    reference: str = ""
    """The paper, or where the settings come from."""
    inputs: Inputs = "all"
    """Modalities in the order in which they are stacked; ``all``: those that every city has."""
    normalisation: Normalisation = "per_city"
    max_bands: int | None = Field(default=None, ge=1)
    """A modality with more bands is projected on this many principal components of the sources' normalised bands, each of
    unit deviation there; null: never."""
    background: Literal["none", "ignored", "learnt"] = "none"
    """One more output for pixels that are labelled 0 (unknown): ``ignored`` is never a target, ``learnt`` is. Maps never
    show it."""
    model: Model
    training: Training = Training()
    phases: dict[str, Phase] = {}
    """Trainings that follow each other, by name; none: ``training`` alone."""
    members: dict[str, Member] = {}
    """Networks of an ensemble, by name; none: ``model`` alone."""
    ensemble: Literal["logits", "probabilities"] = "logits"
    """What is averaged over the members, or over the networks of the last phase."""
    forest: ForestShare | None = None
    """A forest beside the networks; null: none."""
    validation: Validation = Validation()
    prediction: Prediction = Prediction()

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, content: Any) -> Any:
        """Fill every variation with the recipe's own keys."""
        if not isinstance(content, dict):
            return content
        content = dict(content)
        for group in ("phases", "members"):
            if isinstance(found := content.get(group), dict):
                content[group] = {name: _filled(content, change) for name, change in found.items()}
        return content

    @model_validator(mode="after")
    def _variations(self) -> Recipe:
        if self.model.name == "forest" and (self.phases or self.members or self.forest or self.background != "none"):
            raise ValueError("phases, members, background and forest are for networks, not for a forest")
        if self.phases and self.members:
            raise ValueError("a recipe has phases or members, not both")
        for group in (self.phases, self.members):
            for name, change in group.items():
                if "/" in name or not name:
                    raise ValueError(f"the name {name!r} of a phase or member must not be empty or hold a /")
                if change.model.name == "forest":
                    raise ValueError(f"{name}: a forest cannot be a phase or a member")
        earlier: list[str] = []
        for name, phase in self.phases.items():
            for origin in filter(None, (phase.start or {}).values()):
                if origin.split("/")[0] not in earlier:
                    raise ValueError(f"phases.{name}.start: {unknown_name('phase', origin.split('/')[0], earlier)}")
            if phase.training.method.name == "pseudo_labels" and not earlier:
                raise ValueError(f"phases.{name}: pseudo-labels need a phase before that makes them")
            earlier.append(name)
        if not self.phases and any(method.name == "pseudo_labels" for method in self.methods):
            raise ValueError("pseudo-labels are made by a phase before: give phases, the last of them with this method")
        return self

    @model_validator(mode="after")
    def _attention(self) -> Recipe:
        for part in (*self.phases.values(), *self.members.values()) or (self,):
            critics = part.training.method.critics if isinstance(part.training.method, AdversarialMethod) else ()
            if getattr(part.model, "attention", False) and all(critic.sees != "features" for critic in critics):
                raise ValueError(
                    "model.attention weighs features by a critic that sees them: add one to training.method.critics, or set "
                    "model.attention=false"
                )
        return self

    @property
    def methods(self) -> tuple[Method, ...]:
        """Every method that is used."""
        variations = (*self.phases.values(), *self.members.values())
        return tuple(v.training.method for v in variations) or (self.training.method,)

    @property
    def uses_target(self) -> bool:
        """True if any training looks at the target's images."""
        return any(method.uses_target for method in self.methods)

    def without_target(self) -> Recipe:
        """Return the recipe without the phases that learn from pseudo-labels: what is left when no target is given."""
        kept = {n: phase for n, phase in self.phases.items() if phase.training.method.name != "pseudo_labels"}
        return self.model_copy(update={"phases": kept})

    def networks(self, modalities: Sequence[str]) -> dict[str, tuple[Model, tuple[str, ...]]]:
        """Return the networks that map, by member name (``""``: the only one): settings and modalities.

        ``modalities`` are those of the run; members and phases that need others are left out.
        """
        if self.members:
            return {n: (m.model, inputs) for n, m in self.members.items() if (inputs := m.taken(modalities))}
        if not self.phases:
            return {"": (self.model, tuple(modalities))}
        taken = [(name, phase) for name, phase in self.phases.items() if phase.taken(modalities)]
        found = {
            f"{name}.{k}": (phase.model, phase.taken(modalities))
            for name, phase in taken
            if phase.maps or name == taken[-1][0]
            for k in range(phase.networks)
        }
        return found if len(found) > 1 else dict(zip([""] * len(found), found.values(), strict=True))

    def varied(self, change: Variation) -> Recipe:
        """Return the recipe of one training: a variation's inputs, model and training in place of the recipe's own."""
        training = change.training
        if isinstance(change, Phase) and change.share is not None:
            iterations = max(1, round(change.share * self.training.iterations))
            training = training.model_copy(update={"iterations": iterations})
        updates = {"inputs": change.inputs or self.inputs, "model": change.model, "training": training}
        return self.model_copy(update=updates | {"phases": {}, "members": {}})


def overlay(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with the keys of ``over`` laid over it, mappings key by key."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        # Naming another model or method starts from that one's defaults: keys of the former have no meaning in it.
        replaces = (
            isinstance(value, dict)
            and isinstance(below, dict)
            and value.get("name", below.get("name")) != below.get("name")
        )
        merged[key] = (
            overlay(below, value) if isinstance(value, dict) and isinstance(below, dict) and not replaces else value
        )
    return merged


def _filled(recipe: Mapping[str, Any], change: Any) -> Any:
    """Return a variation with the recipe's model and training under its own."""
    change = {} if change is None else change
    if not isinstance(change, dict):
        return change
    base = {key: recipe.get(key, {}) for key in ("model", "training")}
    if not all(isinstance(part, dict) for part in base.values()):
        return change
    return overlay(base, change)
