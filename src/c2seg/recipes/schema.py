"""What a recipe may say; of its network see ``recipes.models``.

Every key has a type, a default and a meaning; an unknown key is an error.

No torch here: a recipe is checked before anything heavy is imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from c2seg.data.normalise import Normalisation
from c2seg.errors import unknown_name
from c2seg.recipes.models import (
    DeepLabV3PlusModel,
    ForestModel,
    HighDANModel,
    HRNetModel,
    HRNetTrunk,
    MMGLOTSModel,
    MMUDAModel,
    Model,
    MRSNModel,
    SegFormerModel,
    SegNetModel,
    Strict,
    UNetModel,
)

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
    phases: dict[str, Phase] = Field(default_factory=dict)
    """Trainings that follow each other, by name; none: ``training`` alone."""
    members: dict[str, Member] = Field(default_factory=dict)
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
    def follows_city(self) -> bool:
        """True if bands are normalised by the statistics of the city at hand, not by the sources'."""
        return self.normalisation in {"per_city", "minmax"}

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
