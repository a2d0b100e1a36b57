"""What a recipe may say of a training: loss, optimizer, schedule, sampling, augmentation, method."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, field_validator, model_validator

from c2seg.recipes.plugged import LossSettings, MethodSettings, Open, Strict, plugin_settings

__all__ = [
    "FDA",
    "AdversarialMethod",
    "Augmentation",
    "BlockMask",
    "DiceKind",
    "DiscriminatorSettings",
    "EntropyMethod",
    "LightChange",
    "Loss",
    "MaskedMethod",
    "Method",
    "Optimizer",
    "PseudoLabelMethod",
    "Sampling",
    "Schedule",
    "SlowTeacherMethod",
    "SupervisedMethod",
    "Training",
]

DiceKind = Literal["present", "all", "per_patch"]


def _term(value: Any) -> Any:
    """Return the settings of a plug-in's term of the loss."""
    if isinstance(value, dict) and isinstance(name := value.get("name"), str):
        return plugin_settings("losses", name, []).model_validate(value)
    return value


class Loss(Strict):
    """The supervised loss, a weighted sum of terms over labeled, valid pixels."""

    cross_entropy: float = Field(default=1.0, ge=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    gce: float = Field(default=0.0, ge=0)
    gce_q: float = Field(default=0.7, gt=0, le=1)
    """Generalized cross-entropy (1 - p^q) / q, for wrong labels: near 0 cross-entropy, at 1 half the mean absolute error."""
    dice: float = Field(default=0.0, ge=0)
    dice_kind: DiceKind = "present"
    """Dice of the outputs present in a batch; of ``all`` outputs (MRSN); or ``per_patch``, summed over the classes, where
    pixels without label count as seen too (HighDAN)."""
    class_weights: Literal["none", "inverse"] = "none"
    """Weights by labeled pixels of the sources, with mean 1 over the classes present."""
    aux: float = Field(default=0.0, ge=0)
    """Weight of the same loss on the network's ``aux`` output, for networks that have one."""
    terms: dict[str, Annotated[SerializeAsAny[LossSettings], BeforeValidator(_term)]] = Field(default_factory=dict)
    """Terms that plug-ins bring, by name: a weight, or settings with a ``weight``; null leaves one out."""

    @field_validator("terms", mode="before")
    @classmethod
    def _named(cls, terms: Any) -> Any:
        """Give every term its name."""
        if not isinstance(terms, dict):
            return terms
        if reserved := [name for name in terms if name in cls.model_fields]:
            raise ValueError(f"{reserved[0]!r} is a key of the loss itself, not a term of a plug-in")
        given = {name: {"weight": term} if isinstance(term, int | float) else term for name, term in terms.items()}
        return {
            name: {"name": name, **term} if isinstance(term, dict) else term
            for name, term in given.items()
            if term is not None
        }

    @model_validator(mode="after")
    def _some(self) -> Loss:
        weights = self.cross_entropy, self.gce, self.dice, *(term.weight for term in self.terms.values())
        if not any(weights):
            raise ValueError("at least one of cross_entropy, gce and dice, or of the terms, must be above 0")
        return self


class Optimizer(Strict):
    """The optimizer of the weights."""

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = Field(default=1e-3, gt=0)
    encoder_factor: float = Field(default=1.0, gt=0)
    """Factor of the rate on the network's encoder, the part that can be pretrained."""
    weight_decay: float = Field(default=0.01, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of sgd; first beta of adam and adamw."""
    beta2: float = Field(default=0.999, ge=0, lt=1)
    """Second beta of adam and adamw."""
    gradient_clip: float | None = Field(default=1.0, gt=0)
    """Largest norm of the gradient; null for none."""


class Schedule(Strict):
    """The learning rate over the iterations, as a factor of ``optimizer.lr``."""

    name: Literal["one_cycle", "poly", "cosine", "step", "constant"] = "one_cycle"
    warmup: float = Field(default=0.0, ge=0, lt=1)
    """Fraction of the iterations with linear warm-up (one_cycle has its own, 0.3)."""
    power: float = Field(default=0.9, gt=0)
    """Exponent of poly."""
    every: int = Field(default=1000, ge=1)
    """Iterations between two drops of step."""
    factor: float = Field(default=0.5, gt=0, le=1)
    """Factor of each drop of step."""


class Sampling(Strict):
    """Which patches a step sees."""

    patch_px: int = Field(default=128, ge=8, le=16_384)
    batch_size: int = Field(default=8, ge=1)
    class_balanced_fraction: float = Field(default=0.5, ge=0, le=1)
    """Fraction of patches centered near a pixel of a class drawn evenly; the rest are drawn evenly over the city."""
    cat_max_ratio: float | None = Field(default=None, gt=0, le=1)
    """A patch where one class covers this fraction of the labeled pixels, or more, is redrawn, up to ten times."""


class FDA(Strict):
    """Patches of the source in the target's style: amplitudes of low frequencies (Yang and Soatto, CVPR 2020)."""

    fraction: float = Field(default=0.5, gt=0, le=1)
    """Fraction of the patches that take the amplitudes of a random patch of the target."""
    beta: float = Field(default=0.05, gt=0, le=0.5)
    """Frequencies of up to this fraction of the patch's side, in whole cycles a patch, rounded down: 0 is the mean alone."""


class LightChange(Strict):
    """Another sun, air and season for a patch: one change for all its optical bands, in reflectance.

    Bands need wavelengths or roles, and values that are reflectance (``docs/crosscity.md``); others do not change.
    """

    sun_std: float = Field(default=0.15, ge=0)
    """Deviation of the logarithm of a gain of all bands."""
    haze: float = Field(default=0.05, ge=0, lt=1)
    """Most reflectance that the air adds at 490 nm; less at longer wavelengths."""
    offset: float = Field(default=0.0, ge=0, lt=1)
    """Most reflectance that is added to all bands, or taken off."""
    season_std: float = Field(default=0.2, ge=0)
    """Deviation of the relative change of plants: above 0 red grows and near infrared falls."""


class Augmentation(Strict):
    """Changes to a patch: geometry on all modalities alike; radiometry per band, in units of the band's deviation."""

    flips: bool = True
    rotations: bool = True
    """By multiples of 90 degrees."""
    zoom: tuple[float, float] | None = None
    """Range of a random factor of scale, drawn evenly: a window of patch_px / factor is resized to the patch."""
    enlarge: float = Field(default=1.0, ge=1, le=16)
    """Patches of a training are enlarged by this factor in the same resampling as ``zoom``, for a network that enlarges its
    inputs only in prediction (mmglots). So zooming out loses no detail before the enlargement."""
    gain_std: float = Field(default=0.0, ge=0)
    offset_std: float = Field(default=0.0, ge=0)
    noise_std: float = Field(default=0.0, ge=0)
    light: LightChange | None = None
    """Another sun, air and season, before gains and offsets of single bands; null: never."""
    modality_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Fraction of patches in which one modality, drawn evenly, is set to 0. Above 0 the model also predicts cities that
    lack one."""
    cutmix: float = Field(default=0.0, ge=0, le=1)
    """Fraction of patches in which a rectangle comes from another patch of the step, with its labels. Its sides are a quarter
    to three quarters of the patch (CutMix, Yun et al., ICCV 2019; for segmentation French et al., BMVC 2020)."""
    fda: FDA | None = None
    """The target's style for patches of the source, before the other changes of radiometry; null: never."""

    @model_validator(mode="after")
    def _range(self) -> Augmentation:
        if self.zoom is not None and not 0.1 <= self.zoom[0] <= self.zoom[1] <= 10:
            raise ValueError(f"zoom must be two rising factors between 0.1 and 10, found {self.zoom}")
        return self


class SupervisedMethod(MethodSettings):
    """Train on the labeled sources alone."""

    name: Literal["supervised"] = "supervised"


class DiscriminatorSettings(Strict):
    """A discriminator of source and target, and the weight of the network's adversarial loss."""

    sees: Literal["entropy", "probability", "features"] = "entropy"
    """What it sees: weighted self-information of the class probabilities (Vu et al., CVPR 2019), the probabilities (Tsai et
    al., CVPR 2018), or the last features."""
    output: Literal["logits", "coarse", "aux"] = "logits"
    """Which of the model's outputs: ``coarse`` are the logits before they are resampled to the input's grid, ``aux`` those of
    an auxiliary head, for models that have them. Not used on features."""
    weight: float = Field(default=0.001, gt=0)
    widths: tuple[Annotated[int, Field(ge=1, le=16_384)], ...] = Field(default=(64, 128, 256, 512), max_length=10)
    """Channels of its stride-2 convolutions; on features, three 3 x 3 convolutions halve the channels instead."""


class AdversarialMethod(MethodSettings):
    """Train on the sources, and on the target so that discriminators cannot tell its outputs from the source's."""

    name: Literal["adversarial"] = "adversarial"
    uses_target: ClassVar[bool] = True
    needs_target: ClassVar[bool] = True
    discriminators: tuple[DiscriminatorSettings, ...] = (DiscriminatorSettings(),)
    gan_mode: Literal["bce", "lsgan"] = "bce"
    """Binary cross-entropy, or least squares (Mao et al., ICCV 2017); source is 0, target is 1."""
    discriminator_scale: float = Field(default=0.5, gt=0)
    """Factor of each half of a discriminator's own loss: 0.5 in ADVENT, 1 in HighDAN."""
    start_after: float = Field(default=0.0, ge=0, lt=1)
    """Fraction of the iterations that train on the sources alone, before the discriminators join."""
    optimizer: Optimizer = Optimizer(name="adam", lr=1e-4, weight_decay=0, gradient_clip=None)
    """Of the discriminators."""

    @model_validator(mode="after")
    def _some(self) -> AdversarialMethod:
        if not self.discriminators:
            raise ValueError("adversarial training needs at least one discriminator")
        return self


class PseudoLabelMethod(MethodSettings):
    """Train on the sources and on the target's most confident pixels, labeled by the networks of the stage before.

    Class-balanced self-training (Zou et al., ECCV 2018): the most confident pixels of each class are kept, so that rare
    classes stay.
    """

    name: Literal["pseudo_labels"] = "pseudo_labels"
    uses_target: ClassVar[bool] = True
    needs_target: ClassVar[bool] = True
    keep_fraction: float = Field(default=0.5, gt=0, le=1)
    """Fraction of the pixels of each class that are kept, the most confident first."""
    forest: bool = False
    """The recipe's forest, if it has one, labels with the networks, by its weight."""
    decision: Literal["argmax", "expected_iou"] = "argmax"
    """How a pixel's class follows from the networks' mean probabilities, as in ``prediction``."""
    target_fraction: float = Field(default=0.5, gt=0, lt=1)
    """Fraction of each batch's patches that come from the target."""


class MaskedMethod(MethodSettings):
    """Train without labels: restore masked blocks of the normalized bands from the pixels around them.

    Masked image modeling (He et al., CVPR 2022; Xie et al., CVPR 2022), on the sources' images and, if there is one, the
    target's. It trains no classes: other stages must follow it.
    """

    name: Literal["masked"] = "masked"
    uses_target: ClassVar[bool] = True
    needs_target: ClassVar[bool] = False
    ratio: float = Field(default=0.5, gt=0, lt=1)
    """Fraction of a patch's blocks that is masked."""
    block_px: int = Field(default=8, ge=1)
    """Side of a block; all modalities are masked together."""
    target_fraction: float = Field(default=0.5, gt=0, lt=1)
    """Fraction of each batch's patches that come from the target, if there is one."""


class BlockMask(Strict):
    """Blocks of a target's patch that the network does not see."""

    ratio: float = Field(default=0.7, gt=0, lt=1)
    """Fraction of the blocks."""
    block_px: int = Field(default=8, ge=1)
    """Side of a block; all modalities are masked together."""


class SlowTeacherMethod(MethodSettings):
    """Train on the sources, and on the target by labels of a running mean of the network itself."""

    name: Literal["slow_teacher"] = "slow_teacher"
    uses_target: ClassVar[bool] = True
    needs_target: ClassVar[bool] = True
    ema: float = Field(default=0.99, gt=0, lt=1)
    """Decay of the teacher's weights by step; faster in the first steps."""
    confidence: float = Field(default=0.9, gt=0, lt=1)
    """Probability from which the teacher is sure. Its labels count by the share of such pixels."""
    mask: BlockMask | None = None
    """Masked image consistency (MIC, Hoyer et al., CVPR 2023); null: none."""
    class_mix: Literal["none", "into_target", "both"] = "none"
    """Classes of the source pasted into the target (DACS, Tranheden et al., WACV 2021), or ``both`` ways."""
    weight: float = Field(default=1.0, gt=0)
    """Of each loss on the target."""

    @model_validator(mode="after")
    def _some(self) -> SlowTeacherMethod:
        if self.mask is None and self.class_mix == "none":
            raise ValueError("a slow teacher labels nothing so: give mask, or class_mix into_target or both")
        return self


class EntropyMethod(MethodSettings):
    """Train on the sources, and on the target toward decided classes in shares that are not far from the sources'.

    Bateson et al., MICCAI 2020.
    """

    name: Literal["entropy"] = "entropy"
    uses_target: ClassVar[bool] = True
    needs_target: ClassVar[bool] = True
    weight: float = Field(default=0.1, gt=0)
    """Of the target's mean entropy, 0..1."""
    share_weight: float = Field(default=0.1, ge=0)
    """Of the penalty on shares outside of what ``slack`` allows."""
    slack: float = Field(default=3.0, gt=1)
    """Factor by which a class's share in a batch of the target may be above or below that in the sources' patches."""


_BUILT_IN = Annotated[
    SupervisedMethod | AdversarialMethod | PseudoLabelMethod | MaskedMethod | SlowTeacherMethod | EntropyMethod,
    Field(discriminator="name"),
]

Method = Annotated[MethodSettings, Open("methods", _BUILT_IN)]
"""One of ours, or the settings of a plug-in."""


class Training(Strict):
    """The training of a network."""

    iterations: int = Field(default=20000, ge=1)
    method: Method = SupervisedMethod()
    loss: Loss = Loss()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    sampling: Sampling = Sampling()
    augment: Augmentation = Augmentation()
    augment_on: Literal["loader", "device"] = "loader"
    """Where patches are normalized and augmented: by the loader's threads, or raw patches travel and the device of the
    training does it, with the same values up to rounding (1e-5). For GPUs that the loader cannot keep busy."""
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    """Decay of the averaged weights that become the model, lower in the first steps; null: the last weights."""
    precision: Literal["32", "bf16", "16", "auto"] = "32"
    """``auto``: bf16 where the processor computes in it, else 32. ``bf16`` elsewhere is emulated, and slow."""
    adabn: bool = False
    """Compute the means and variances of batch normalization anew on the target's images after the training (AdaBN, Li et
    al. 2018)."""
    accumulate: int = Field(default=1, ge=1, le=1024)
    """Parts that a batch is computed in, one after the other, for less memory. The gradient is the mean over the parts: that of
    the whole batch where all parts have equally many labels. Batch normalization sees one part at a time."""
    checkpoint_activations: bool = False
    """Forget the activations of the network's blocks and compute them again for the gradients: less memory, more time."""
    compile: bool = False
    """Compile the network with torch.compile before the training: minutes at first, then faster steps on a GPU. Gradients
    are rounded in another order."""
    sync_batchnorm: bool = False
    """Batch normalization over the patches of all processes of torchrun, not of each alone: several processes then train as
    one does. Nothing changes in a single process."""
    checkpoint_every: int = Field(default=200, ge=1)
    """Iterations between states from which a stopped run can be resumed."""

    @field_validator("precision", mode="before")
    @classmethod
    def _bits(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) else value

    @property
    def aligns(self) -> bool:
        """True if images of the target are needed to align the cities, whatever the method."""
        return self.augment.fda is not None or self.adabn

    @model_validator(mode="after")
    def _both(self) -> Training:
        if hasattr(self.method, "target_fraction") and self.sampling.batch_size < 2:
            raise ValueError("both cities make up one batch: sampling.batch_size must be at least 2")
        return self
