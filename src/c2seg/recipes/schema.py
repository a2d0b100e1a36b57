"""What a recipe may say; of its network see ``recipes.models``, of its training ``recipes.training``.

Every key has a type, a default and a meaning; an unknown key is an error.

No torch here: a recipe is checked before anything heavy is imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from c2seg.data.normalize import Normalization
from c2seg.errors import unknown_name
from c2seg.recipes.models import ForestModel, HighDANModel, Model, Strict
from c2seg.recipes.training import AdversarialMethod, MaskedMethod, Method, Training

__all__ = [
    "ForestShare",
    "Member",
    "Phase",
    "Prediction",
    "Recipe",
    "SourceCheck",
    "Validation",
    "Variation",
    "overlay",
]

Inputs = tuple[str, ...] | Literal["all"]


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
    final: bool = True
    """Learn from all labels after the folds; ``false``: scores only, no model."""

    @property
    def count(self) -> int:
        """Number of folds that are trained and tested."""
        return 1 if self.kind == "random_tiles" else self.folds

    @model_validator(mode="after")
    def _folds(self) -> Validation:
        if self.folds == 1:
            raise ValueError("folds must be 0 (no validation) or at least 2")
        if not (self.final or self.count):
            raise ValueError("final: false leaves nothing to do without folds")
        return self


class Prediction(Strict):
    """How a city is mapped."""

    window_px: int = Field(default=256, ge=8)
    overlap_px: int | None = Field(default=None, ge=0)
    """Overlap of neighboring windows; null: a quarter of the window (0 for models that need none)."""
    batch_size: int = Field(default=4, ge=1)
    tta: bool = False
    """Average over flips and rotations."""
    tta_transforms: Literal[6, 8] = 8
    """How many: all 8, or the 6 of the challenge's second place (four rotations, two flips)."""
    temperature: float = Field(default=1.0, gt=0)
    """The networks' logits are divided by it before the softmax: below 1 for networks that are too unsure (smoothed labels
    and averaging make them so)."""
    decision: Literal["argmax", "expected_iou"] = "argmax"
    """How a pixel's class follows from the probabilities: the largest, or what maximizes the expected mean IoU over the
    mapped city. The latter favors rare classes, as the challenge's score does; areas and overall accuracy do not like it."""

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
    """One of several trainings that follow each other; the last one's network, or networks, are the model.

    ``null`` in its place leaves a phase out, as in a recipe whose variant brings it in.
    """

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

    @property
    def labels(self) -> bool:
        """True if its networks learn classes, and so can label and map."""
        return not isinstance(self.training.method, MaskedMethod)


class Member(Variation):
    """One network of an ensemble, with a seed of its own."""


class ForestShare(Strict):
    """A forest that maps together with the networks."""

    weight: float = Field(default=0.25, gt=0, lt=1)
    """Of its probabilities in the mean with those of the networks."""
    model: ForestModel = ForestModel()


class SourceCheck(Strict):
    """A trial before the real training: the recipe, reduced, learnt without some blocks of the sources and measured there.

    Phases that adapt to the target, and the forest's weight, are left out or changed if that is better there; a temperature
    for the confidence is fitted.
    """

    folds: int = Field(default=3, ge=2, le=16)
    """Interleaved folds of blocks; one of them is held out."""
    block_px: int | None = Field(default=None, ge=4)
    """As in ``validation``."""
    guard_px: int = Field(default=8, ge=0)
    networks: int | None = Field(default=1, ge=1)
    """Networks of each phase, at most; null: all of the recipe's."""
    margin: float = Field(default=0.02, ge=0)
    """What is better by no more than this, in mean IoU, changes nothing. Two seeds easily differ by 0.01 to 0.02."""
    weights: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = (0.1, 0.5)
    """Weights of the forest that are tried beside none and the recipe's own."""


class Recipe(Strict):
    """One experiment, complete: what goes in, what learns, how, and how the map is made."""

    name: str
    description: str = ""
    citation: str = ""
    """The paper, or where the settings come from."""
    inputs: Inputs = "all"
    """Modalities in the order in which they are stacked; ``all``: those that every city has."""
    normalization: Normalization = "per_city"
    max_bands: int | None = Field(default=None, ge=1)
    """A modality with more bands is projected on this many principal components of the sources' normalized bands, each of
    unit deviation there; null: never."""
    background: Literal["none", "ignored", "learnt"] = "none"
    """One more output for pixels that are labeled 0 (unknown): ``ignored`` is never a target, ``learnt`` is. Maps never
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
    source_check: SourceCheck | None = None
    """What is tried on held-out blocks of the sources before the real training; null: nothing."""
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
                content[group] = {n: _filled(content, change) for n, change in found.items() if change is not None}
        return content

    @model_validator(mode="after")
    def _variations(self) -> Recipe:
        kept = self.phases or self.members or self.forest or self.source_check or self.background != "none"
        if self.model.name == "forest" and kept:
            raise ValueError("phases, members, background, forest and source check are for networks, not for a forest")
        if self.model.name == "forest" and self.training.aligns:
            raise ValueError(
                "training.augment.fda and training.adabn are for networks: a forest draws no patches and has "
                "no batch normalization"
            )
        if self.phases and self.members:
            raise ValueError("a recipe has phases or members, not both")
        for group in (self.phases, self.members):
            for name, change in group.items():
                if "/" in name or not name:
                    raise ValueError(f"the name {name!r} of a phase or member must not be empty or hold a /")
                if change.model.name == "forest":
                    raise ValueError(f"{name}: a forest cannot be a phase or a member")
        self._check_phases()
        if not self.phases and any(method.name == "pseudo_labels" for method in self.methods):
            raise ValueError("pseudo-labels are made by a phase before: give phases, the last of them with this method")
        return self

    def _check_phases(self) -> None:
        """Raise ValueError where a phase needs what no earlier one gives, or where no classes are learnt."""
        earlier: list[str] = []
        for name, phase in self.phases.items():
            for origin in filter(None, (phase.start or {}).values()):
                if origin.split("/")[0] not in earlier:
                    raise ValueError(f"phases.{name}.start: {unknown_name('phase', origin.split('/')[0], earlier)}")
            if phase.training.method.name == "pseudo_labels" and all(not self.phases[n].labels for n in earlier):
                raise ValueError(f"phases.{name}: pseudo-labels need a phase before that makes them")
            if phase.maps and not phase.labels:
                raise ValueError(f"phases.{name}: masked learning teaches no classes, its network cannot map")
            earlier.append(name)
        last = self.phases[earlier[-1]].training.method if earlier else None
        if isinstance(last, MaskedMethod) or (not earlier and any(isinstance(m, MaskedMethod) for m in self.methods)):
            raise ValueError("masked learning teaches no classes: make it a phase and let another one follow")

    @model_validator(mode="after")
    def _attention(self) -> Recipe:
        for part in (*self.phases.values(), *self.members.values()) or (self,):
            discriminators = (
                part.training.method.discriminators if isinstance(part.training.method, AdversarialMethod) else ()
            )
            if isinstance(part.training.method, MaskedMethod):
                continue
            if (
                isinstance(part.model, HighDANModel)
                and part.model.attention
                and all(discriminator.sees != "features" for discriminator in discriminators)
            ):
                raise ValueError(
                    "model.attention weighs features by a discriminator that sees them: add it to method.discriminators or set "
                    "model.attention=false"
                )
        return self

    @property
    def trainings(self) -> tuple[Training, ...]:
        """Every training."""
        return tuple(v.training for v in (*self.phases.values(), *self.members.values())) or (self.training,)

    @property
    def methods(self) -> tuple[Method, ...]:
        """Every method that is used."""
        return tuple(training.method for training in self.trainings)

    @property
    def follows_city(self) -> bool:
        """True if bands are normalized by the statistics of the city at hand, not by the sources'."""
        return self.normalization in {"per_city", "quantile", "minmax"}

    @property
    def uses_target(self) -> bool:
        """True if any training looks at the target's images."""
        return any(training.method.uses_target or training.aligns for training in self.trainings)

    @property
    def needs_target(self) -> bool:
        """True if a training cannot do without the target's images."""
        return any(training.method.needs_target or training.aligns for training in self.trainings)

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
        taken = [(name, phase) for name, phase in self.phases.items() if phase.labels and phase.taken(modalities)]
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
    if not isinstance(change, dict):
        return change
    base = {key: recipe.get(key, {}) for key in ("model", "training")}
    if not all(isinstance(part, dict) for part in base.values()):
        return change
    return overlay(base, change)
