"""What a recipe may say. Every key has a type, a default and a meaning; an unknown key is an error.

No torch here: a recipe is checked before anything heavy is imported.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from c2seg.data.normalise import Normalisation
from c2seg.errors import unknown_name

__all__ = [
    "AdversarialMethod",
    "Augmentation",
    "Critic",
    "DeepLabV3PlusModel",
    "ForestModel",
    "Loss",
    "Method",
    "Model",
    "Optimiser",
    "Prediction",
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


Model = Annotated[
    ForestModel | UNetModel | SegNetModel | DeepLabV3PlusModel | SegFormerModel, Field(discriminator="name")
]


class Loss(Strict):
    """The supervised loss, a weighted sum of terms over labelled, valid pixels."""

    cross_entropy: float = Field(default=1.0, ge=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    focal: float = Field(default=0.0, ge=0)
    focal_gamma: float = Field(default=2.0, ge=0)
    dice: float = Field(default=0.0, ge=0)
    class_weights: Literal["none", "inverse", "inverse_sqrt"] = "none"
    """Weights by labelled pixels of the sources, with mean 1 over the classes present."""

    @model_validator(mode="after")
    def _some(self) -> Loss:
        if not (self.cross_entropy or self.focal or self.dice):
            raise ValueError("at least one of cross_entropy, focal and dice must be above 0")
        return self


class Optimiser(Strict):
    """How weights follow gradients."""

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of sgd; first beta of adam and adamw."""
    gradient_clip: float | None = Field(default=1.0, gt=0)
    """Largest norm of the gradient; null for none."""


class Schedule(Strict):
    """The learning rate over the iterations, as a factor of ``optimiser.lr``."""

    name: Literal["one_cycle", "poly", "cosine", "constant"] = "one_cycle"
    warmup: float = Field(default=0.0, ge=0, lt=1)
    """Share of the iterations with linear warm-up (one_cycle has its own, 0.3)."""
    power: float = Field(default=0.9, gt=0)
    """Exponent of poly."""


class Sampling(Strict):
    """Which patches a step sees."""

    patch_px: int = Field(default=128, ge=8)
    batch_size: int = Field(default=8, ge=1)
    balanced: float = Field(default=0.5, ge=0, le=1)
    """Share of patches centred near a pixel of a class drawn evenly; the rest are drawn evenly over the city."""


class Augmentation(Strict):
    """Changes to a patch: geometry on all modalities alike; radiometry per band, in units of the band's deviation."""

    flips: bool = True
    rotations: bool = True
    """By multiples of 90 degrees."""
    gain_std: float = Field(default=0.0, ge=0)
    offset_std: float = Field(default=0.0, ge=0)
    noise_std: float = Field(default=0.0, ge=0)


class SupervisedMethod(Strict):
    """Learn from the labelled sources alone."""

    name: Literal["supervised"] = "supervised"
    uses_target: ClassVar[bool] = False


class Critic(Strict):
    """A discriminator that tells source from target, and how much the network is to deceive it."""

    sees: Literal["entropy", "probability", "features"] = "entropy"
    """What it sees: weighted self-information of the class probabilities (Vu et al., CVPR 2019), the probabilities (Tsai et
    al., CVPR 2018), or the last features."""
    output: Literal["logits", "aux"] = "logits"
    """Which of the model's outputs; ``aux`` for models that have one. Not used on features."""
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
    aux_loss: float = Field(default=0.0, ge=0)
    """Weight of the supervised loss on the ``aux`` output."""
    begin: float = Field(default=0.0, ge=0, lt=1)
    """Share of the iterations that are learnt from the sources alone, before the critics join."""
    optimiser: Optimiser = Optimiser(name="adam", lr=1e-4, weight_decay=0, gradient_clip=None)
    """Of the critics."""

    @model_validator(mode="after")
    def _some(self) -> AdversarialMethod:
        if not self.critics:
            raise ValueError("adversarial learning needs at least one critic")
        return self


Method = Annotated[SupervisedMethod | AdversarialMethod, Field(discriminator="name")]


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
    """Average over the 8 flips and rotations."""

    @property
    def overlap(self) -> int:
        """Overlap in pixels with the default filled in."""
        return self.window_px // 4 if self.overlap_px is None else self.overlap_px

    @model_validator(mode="after")
    def _overlap(self) -> Prediction:
        if self.overlap_px is not None and self.overlap_px >= self.window_px:
            raise ValueError(f"overlap_px ({self.overlap_px}) must be smaller than window_px ({self.window_px})")
        return self


class Recipe(Strict):
    """One experiment, complete: what goes in, what learns, how, and how the map is made."""

    name: str
    description: str = ""
    reference: str = ""
    """The paper, or where the settings come from."""
    inputs: tuple[str, ...] | Literal["all"] = "all"
    """Modalities in the order in which they are stacked; ``all``: those that every city has."""
    normalisation: Normalisation = "per_city"
    model: Model
    training: Training = Training()
    validation: Validation = Validation()
    prediction: Prediction = Prediction()
