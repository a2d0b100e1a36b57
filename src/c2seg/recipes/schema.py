"""The keys of a recipe; for its network see ``recipes.models``, for its training ``recipes.training``.

Every key has a type, a default and a meaning; an unknown key is an error.

No torch here: a recipe is checked before anything heavy is imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from c2seg.data.normalize import OF_EACH_CITY, Normalization
from c2seg.data.physical_layers import measured
from c2seg.errors import unknown_name
from c2seg.recipes.models import ForestModel, HighDANModel, MMGLOTSModel, Model, Strict
from c2seg.recipes.training import AdversarialMethod, MaskedMethod, PseudoLabelMethod, Training

__all__ = [
    "Comparison",
    "FewLabels",
    "ForestWeight",
    "Network",
    "Prediction",
    "Recipe",
    "SmallSource",
    "SourceCheck",
    "Validation",
    "Variation",
    "overlay",
]

Inputs = tuple[str, ...] | Literal["all"]

Decided = Literal["argmax", "expected_iou", "expected_oa", "unbiased_area"]

ONLY_STAGE = "training"
"""Name of the stage of a recipe that names none."""


class Validation(Strict):
    """Interleaved guarded block folds over the source cities; 0 folds: none."""

    kind: Literal["blocks", "random_tiles"] = "blocks"
    """``random_tiles``: one random split of half-overlapping tiles, which leaks; only to reproduce published offline
    numbers. It needs no ``folds``."""
    tile_px: int = Field(default=128, ge=8)
    """Side of the tiles of ``random_tiles`` where the data are not released as half-overlapping tiles."""
    score_every: int | None = Field(default=None, ge=1)
    """Of ``random_tiles``: iterations between scores of the weights on the validation tiles, so that the best can be told
    from the last; null: only the last weights are scored."""
    folds: int = Field(default=0, ge=0, le=16)
    block_px: int | None = Field(default=None, ge=4)
    """Side of a block; null: a sixth of the scene's shorter side, at least four times the guard."""
    guard_px: int = Field(default=8, ge=0)
    final: bool = True
    """Train on all labels after the folds; ``false``: scores only, no model, but with ``random_tiles`` the model of its
    training tiles."""

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
        if self.score_every and self.kind != "random_tiles":
            raise ValueError("score_every is for random_tiles: no guarded fold chooses weights")
        return self


class Prediction(Strict):
    """How a city is predicted."""

    window_px: int = Field(default=256, ge=8, le=16_384)
    """Side of the windows; they are as little larger as a network's stride asks."""
    overlap_px: int | None = Field(default=None, ge=0)
    """Overlap of neighboring windows; null: a quarter of the window (0 for models that need none)."""
    windows: Literal["blended", "tiles"] = "blended"
    """``tiles``: as the challenge maps its test tiles, one by one: no overlap but of the last row and column, which end at the
    edge of the scene. With ``window_px`` as ``patch_px``, a network then sees what it was trained on. ``overlap_px`` is 0."""
    batch_size: int = Field(default=4, ge=1, le=4096)
    tta: bool = False
    """Average over flips and rotations."""
    tta_transforms: Literal[6, 8] = 8
    """How many: all 8, or the 6 of the challenge's second place (four rotations, two flips)."""
    temperature: float = Field(default=1.0, gt=0)
    """The networks' logits are divided by it before the softmax. Values below 1 suit underconfident networks: label smoothing
    and averaging make them so."""
    decision: Decided = "argmax"
    """How a pixel's class follows from the probabilities: the most probable class, or by what the map is for. ``expected_iou``
    maximizes the expected mean IoU over the city: it favors rare classes, as the challenge's score does, and worsens areas and
    overall accuracy. ``expected_oa`` maximizes overall accuracy by estimated class shares of the city, ``unbiased_area`` maps
    the areas that are expected."""
    area_shares: Literal["mean", "mlls"] = "mean"
    """What ``unbiased_area`` takes for the city's class shares: the means of calibrated probabilities, which hold where classes
    look a little different there; or the estimate of ``expected_oa``, which is better where shares alone differ."""

    @property
    def overlap(self) -> int:
        """Overlap in pixels with the default filled in."""
        if self.windows == "tiles":
            return 0
        return self.window_px // 4 if self.overlap_px is None else self.overlap_px

    @model_validator(mode="after")
    def _overlap(self) -> Prediction:
        if self.overlap_px is not None and self.overlap_px >= self.window_px:
            raise ValueError(f"overlap_px ({self.overlap_px}) must be smaller than window_px ({self.window_px})")
        return self


class Variation(Strict):
    """The recipe with some keys changed: what is not given follows the recipe (``training`` and ``model`` key by key).

    A variation whose ``inputs`` name a modality that the cities lack is left out.
    """

    inputs: Inputs | None = None
    model: Model
    training: Training

    def available_inputs(self, modalities: Sequence[str]) -> tuple[str, ...]:
        """Return the modalities that this variation takes of those of a run; none if it needs one that is not there.

        Physical layers are taken where the network asks for them, whatever ``inputs`` says.
        """
        layers = tuple(name for name in self.model.physical if name in modalities)
        if self.inputs is None or self.inputs == "all":
            return (*measured(modalities), *layers)
        inputs = measured(self.inputs)
        return (*inputs, *layers) if all(name in modalities for name in inputs) else ()


class Stage(Variation):
    """One step of the training of a recipe: one network, or several in parallel. Stages follow each other.

    ``null`` in its place leaves a stage out, as in a recipe whose variant brings it in.
    """

    networks: Annotated[int, Field(ge=1, le=100)] | dict[str, Variation] = 1
    """How many networks are trained, each with a seed of its own; or, by name, what each of them changes in the stage. The
    networks of a stage label or predict the target together."""
    fraction: float | None = Field(default=None, gt=0)
    """Iterations as a fraction of the recipe's ``training.iterations``; null: those of this stage's own ``training``."""
    init_from: dict[str, str | None] | None = None
    """Initial weights: part of this network -> ``stage`` or ``stage/part``, parts being module names such as
    ``trunks.msi`` (an empty name: the whole network), or null: random. null: all of the stage before; an empty mapping:
    random."""
    keep_in_ensemble: bool = False
    """Keep this stage's networks in the model, beside those of the last stage."""

    @property
    def variations(self) -> dict[str, Variation]:
        """The networks' settings by name; numbered where they are counted."""
        if isinstance(self.networks, int):
            return {str(index): self for index in range(self.networks)}
        return self.networks

    @property
    def predicts_classes(self) -> bool:
        """True if its networks are trained on classes, and so can label and predict."""
        return not isinstance(self.training.method, MaskedMethod)


@dataclass(frozen=True)
class Network:
    """One network of a recipe for the cities of a run: where it stands, its modalities, its settings."""

    stage: str
    name: str
    """Within the stage."""
    inputs: tuple[str, ...]
    model: Model
    training: Training
    """With the iterations of its stage."""

    @property
    def path(self) -> str:
        """Stage and name, as in the tensor names of a model file: ``teachers.0``."""
        return f"{self.stage}.{self.name}"


class ForestWeight(Strict):
    """A forest that predicts together with the networks."""

    weight: float = Field(default=0.25, gt=0, lt=1)
    """Of its probabilities in the mean with those of the networks."""
    model: ForestModel = ForestModel()
    choose_weight: bool = False
    """Let held-out blocks of the sources decide on the weight by a short trial: a source check of the forest alone, with a
    quarter of the iterations. ``weight`` stays where nothing is clearly better."""


class SmallSource(Strict):
    """Networks that train shorter, are narrower, or count less beside a forest, where the sources have little to train on.

    With c pairs of a cell of 8 x 8 pixels and a class that has a labeled pixel in it, the factor is (c / ``cells``)^``power``.
    """

    cells: int = Field(default=600, ge=1)
    """From which networks are as the recipe says."""
    power: float = Field(default=0.5, gt=0, le=1)
    least: float = Field(default=0.25, gt=0, le=1)
    """The smallest factor."""
    changes: tuple[Literal["length", "width", "forest"], ...] = ("length", "width", "forest")
    """``forest``: the networks' weight beside the forest times the factor."""


class Comparison(Strict):
    """Where ``normalization: auto`` compares the target with the sources in physical units (``docs/crosscity.md``)."""

    limit: float = Field(default=2.0, gt=0)
    """It does not where a mixture of the sources' classes is more than so many times as far from the target's pixels by
    ``midway`` as by ``per_city``."""
    changes: dict[str, Any] = Field(default_factory=dict)
    """Keys of the recipe that have other values where it compares; those of ``model`` and ``training`` in every stage."""
    sentinel: dict[str, Any] | None = None
    """Further ones, for networks that were pretrained on bands of Sentinel-2 and Sentinel-1: only cities that have no others
    are compared then; null: none, and all are."""


class SourceCheck(Strict):
    """A trial before the real training: the recipe, reduced, is trained without some blocks of the sources and measured there.

    Stages that adapt to the target are left out, and the forest's weight is changed, if that is better there. A temperature
    for the confidence is fitted.
    """

    folds: int = Field(default=3, ge=2, le=16)
    """Interleaved folds of blocks; one of them is held out."""
    block_px: int | None = Field(default=None, ge=4)
    """As in ``validation``."""
    guard_px: int = Field(default=8, ge=0)
    networks: int | None = Field(default=1, ge=1)
    """Networks of each stage, at most; null: all of the recipe's."""
    margin: float = Field(default=0.02, ge=0)
    """What is better by no more than this, in mean IoU, changes nothing. Two seeds easily differ by 0.01 to 0.02."""
    weights: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = (0.1, 0.5)
    """Weights of the forest that are tried beside none and the recipe's own."""
    fraction: float = Field(default=1.0, gt=0, le=1)
    """Of the iterations, for a cheaper trial. Below 1 no temperature is taken from it: longer trained networks are surer."""
    adaptation: bool = True
    """Try the stages that adapt to the target, too."""


class FewLabels(Strict):
    """How a few labels of the target, where a run is given some, join the training. Without them it changes nothing."""

    weight: float = Field(default=0.5, ge=0, le=1)
    """Share of the target's labels in the training of a class that has many; less where it has few (``docs/accuracy.md``).
    1: classes that have labels are trained on these alone."""
    batch_fraction: float = Field(default=0.25, gt=0, lt=1)
    """Fraction of a network's batch that shows labeled pixels of the target."""
    choose: bool = True
    """Let the labels decide, where there are enough, on normalization, adapting stages and the forest's weight."""
    least: int = Field(default=5, ge=2)
    """Labels of a class from which it has enough, in at least two classes."""
    folds: int = Field(default=4, ge=2, le=16)
    """Folds of the labels by which the choices are scored."""
    margin: float = Field(default=0.03, ge=0)
    """What is better by no more than this, in mean IoU over the labels, changes nothing."""
    calibrate: bool = True
    """Fit the confidence's temperature and the classes' shares to the labels, where there are enough."""
    guard_px: int | None = Field(default=None, ge=0)
    """How far from a labeled pixel scores leave out others; null: what the model sees around it (half the widest window of a
    forest's features, a quarter of a network's patch)."""


class Recipe(Strict):
    """One experiment, complete: inputs, networks, training, and how the map is made."""

    name: str
    description: str = ""
    citation: str = ""
    """The paper, or where the settings come from."""
    inputs: Inputs = "all"
    """Modalities in the order in which they are stacked; ``all``: those that every city has."""
    normalization: Normalization | Literal["auto"] = "per_city"
    """``auto``: ``midway`` where the target can be compared with the sources in physical units, ``per_city`` elsewhere and
    without a target."""
    comparison: Comparison = Comparison()
    """When ``normalization: auto`` compares, and what changes then."""
    statistics: Literal["pooled", "tiles"] = "pooled"
    """Those of the sources, by which ``normalization: source`` standardizes: of all pixels, or the means over tiles of each
    tile's mean and deviation, as the challenge's first and third place did. Tiles are the release's, else half-overlapping
    ones of ``patch_px``. Other normalizations always take all pixels."""
    max_bands: int | None = Field(default=None, ge=1)
    """A modality with more bands is projected on this many principal components of the sources' normalized bands, each of
    unit deviation there; null: never."""
    background: Literal["none", "ignored", "trained"] = "none"
    """One more output for pixels that are labeled 0 (unknown): ``ignored`` is never a target, ``trained`` is. Maps never
    show it."""
    model: Model
    training: Training = Training()
    stages: dict[str, Stage] = Field(default_factory=dict)
    """What is trained, in order, by name; not given: one stage, ``training``. Each has the recipe's ``model`` and
    ``training`` but for what it changes. A forest has none."""
    ensemble: Literal["logits", "probabilities"] = "logits"
    """What is averaged over the networks of the ensemble: those of the last stage, and those that are kept."""
    forest: ForestWeight | None = None
    """A forest beside the networks; null: none."""
    source_check: SourceCheck | None = None
    """What is tried on held-out blocks of the sources before the real training; null: nothing."""
    small_source: SmallSource | None = None
    """What small sources change of the networks; null: nothing."""
    target_labels: FewLabels = FewLabels()
    """What a few labels of the target do, in runs that are given some."""
    validation: Validation = Validation()
    prediction: Prediction = Prediction()

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, content: Any) -> Any:
        """Fill every stage, and every named network of one, with the keys above it."""
        if not isinstance(content, dict):
            return content
        content = dict(content)
        stages = content.get("stages") or {}
        if not isinstance(stages, dict):
            return content
        if not stages and not _is_forest(content):
            stages = {ONLY_STAGE: {}}
        content["stages"] = {name: _stage(content, stage) for name, stage in stages.items() if stage is not None}
        return content

    @model_validator(mode="after")
    def _stages(self) -> Recipe:
        if self.model.name == "forest":
            self._check_forest()
        elif not self.stages:
            raise ValueError("stages: every stage is left out")
        earlier: list[str] = []
        for name, stage in self.stages.items():
            _check_name("stage", name)
            _check_networks(name, stage)
            self._check_order(name, stage, earlier)
            earlier.append(name)
        if self.stages and not self.stages[earlier[-1]].predicts_classes:
            raise ValueError("masked pretraining trains no classes: let another stage follow it")
        return self

    def _check_forest(self) -> None:
        if self.stages or self.forest or self.source_check or self.small_source or self.background != "none":
            raise ValueError(
                "stages, background, forest, small_source and source_check are for networks, not for a forest"
            )
        if self.training.aligns:
            raise ValueError(
                "training.augment.fda and training.adabn are for networks: a forest draws no patches and has "
                "no batch normalization"
            )

    def _check_order(self, name: str, stage: Stage, earlier: Sequence[str]) -> None:
        """Raise ValueError where a stage needs what no earlier one gives."""
        for origin in filter(None, (stage.init_from or {}).values()):
            if origin.split("/")[0] not in earlier:
                raise ValueError(f"stages.{name}.init_from: {unknown_name('stage', origin.split('/')[0], earlier)}")
        needs_labels = isinstance(stage.training.method, PseudoLabelMethod)
        if needs_labels and not any(self.stages[other].predicts_classes for other in earlier):
            raise ValueError(f"stages.{name}: pseudo-labels need a stage before that makes them")
        if stage.keep_in_ensemble and not stage.predicts_classes:
            raise ValueError(f"stages.{name}: masked pretraining trains no classes, its network cannot predict")

    @property
    def trainings(self) -> tuple[Training, ...]:
        """Every training; a forest has its settings only."""
        stages = [network.training for stage in self.stages.values() for network in stage.variations.values()]
        return tuple(stages) or (self.training,)

    @property
    def physical(self) -> tuple[str, ...]:
        """Physical layers that any network takes."""
        networks = [network.model for stage in self.stages.values() for network in stage.variations.values()]
        return tuple(dict.fromkeys(name for model in networks for name in model.physical))

    @property
    def checks(self) -> SourceCheck | None:
        """The source check that a run makes: the recipe's, or the short one that chooses the forest's weight alone."""
        if self.source_check or self.forest is None or not self.forest.choose_weight:
            return self.source_check
        return SourceCheck(weights=(0.1, 0.5, 0.75, 0.9), fraction=0.25, adaptation=False)

    @property
    def follows_city(self) -> bool:
        """True if bands are normalized by the statistics of the city at hand, not by the sources'."""
        return self.normalization == "auto" or self.normalization in OF_EACH_CITY

    @property
    def decided_normalization(self) -> Normalization:
        """That of a model; ``auto`` has been decided on before there is one. Raises ValueError where it has not."""
        if self.normalization == "auto":
            raise ValueError("normalization: auto is decided by a training and cannot be applied")
        return self.normalization

    @property
    def uses_target(self) -> bool:
        """True if any training uses the target's images."""
        return any(training.method.uses_target or training.aligns for training in self.trainings)

    @property
    def needs_target(self) -> bool:
        """True if a training cannot do without the target's images."""
        return any(training.method.needs_target or training.aligns for training in self.trainings)

    def without_target(self) -> Recipe:
        """Return the recipe without the stages that train on pseudo-labels, for runs without a target."""
        pseudo = [name for name, stage in self.stages.items() if isinstance(stage.training.method, PseudoLabelMethod)]
        return self.without_stages(pseudo)

    def without_stages(self, names: Sequence[str]) -> Recipe:
        """Return the recipe without some of its stages."""
        return self.model_copy(update={"stages": {n: stage for n, stage in self.stages.items() if n not in names}})

    def with_stages(self, **changes: Any) -> Recipe:
        """Return the recipe with the same fields changed in every stage."""
        stages = {name: stage.model_copy(update=changes) for name, stage in self.stages.items()}
        return self.model_copy(update={"stages": stages})

    def stage_networks(self, stage: str, modalities: Sequence[str]) -> tuple[Network, ...]:
        """Return the networks of a stage for cities with these modalities, without those that need others."""
        settings = self.stages[stage]
        if not settings.available_inputs(modalities):
            return ()
        networks = []
        for name, change in settings.variations.items():
            if inputs := change.available_inputs(
                settings.available_inputs(modalities) if change.inputs is None else modalities
            ):
                networks.append(Network(stage, name, inputs, change.model, self._iterated(settings, change.training)))
        return tuple(networks)

    def ensemble_networks(self, modalities: Sequence[str]) -> tuple[Network, ...]:
        """Return the networks that predict: those of the last stage with any, and those of stages that are kept."""
        trained = {name: self.stage_networks(name, modalities) for name in self.stages}
        able = [name for name, networks in trained.items() if networks and self.stages[name].predicts_classes]
        return tuple(
            network
            for name in able
            if self.stages[name].keep_in_ensemble or name == able[-1]
            for network in trained[name]
        )

    def alone(self, network: Network) -> Recipe:
        """Return the recipe of one of its networks: its inputs, model and training, in a single stage."""
        changes = {"inputs": network.inputs, "model": network.model, "training": network.training}
        stage = Stage(model=network.model, training=network.training)
        return self.model_copy(update=changes | {"stages": {ONLY_STAGE: stage}})

    def _iterated(self, stage: Stage, training: Training) -> Training:
        """Return a training with the iterations that its stage asks for."""
        if stage.fraction is None:
            return training
        iterations = max(1, round(stage.fraction * self.training.iterations))
        return training.model_copy(update={"iterations": iterations})


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


def _stage(recipe: Mapping[str, Any], stage: Any) -> Any:
    """Return a stage, and the networks it names, with the recipe's model and training under their own."""
    stage = _filled(recipe, stage)
    networks = stage.get("networks") if isinstance(stage, dict) else None
    if not isinstance(networks, dict):
        return stage
    return stage | {"networks": {n: _filled(stage, change) for n, change in networks.items() if change is not None}}


def _filled(above: Mapping[str, Any], change: Any) -> Any:
    """Return a variation with the model and training of what is above it under its own."""
    if not isinstance(change, dict):
        return change
    base = {key: _as_mapping(above.get(key, {})) for key in ("model", "training")}
    if not all(isinstance(part, dict) for part in base.values()):
        return change
    return overlay(base, change)


def _as_mapping(part: Any) -> Any:
    return part.model_dump() if isinstance(part, Strict) else part


def _is_forest(recipe: Mapping[str, Any]) -> bool:
    model = recipe.get("model")
    return getattr(model, "name", None) == "forest" or (isinstance(model, dict) and model.get("name") == "forest")


def _check_name(kind: str, name: str) -> None:
    if not name or "/" in name or "." in name:
        raise ValueError(f"the name {name!r} of a {kind} must not be empty or hold a / or a dot")


def _check_networks(name: str, stage: Stage) -> None:
    """Raise ValueError for networks that a stage cannot train together."""
    if isinstance(stage.networks, dict) and not stage.networks:
        raise ValueError(f"stages.{name}.networks: give a number, or at least one name")
    for network, change in stage.variations.items():
        _check_name("network", network)
        if change.model.name == "forest":
            raise ValueError(f"stages.{name}: a forest cannot be a network of a stage")
        if change.training.method != stage.training.method:
            raise ValueError(f"stages.{name}.networks.{network}: the method belongs to the stage")
        _check_attention(change)
        _check_enlargement(change)


def _check_enlargement(change: Variation) -> None:
    """Raise ValueError where patches are enlarged by both sampling and network, by neither, or by different factors."""
    factor, model = change.training.augment.enlarge, change.model
    awaited = model.scale if isinstance(model, MMGLOTSModel) and model.enlarges == "prediction" else 1.0
    if factor != awaited:
        raise ValueError(
            f"training.augment.enlarge must be {awaited:g} for this network, found {factor:g}: model.scale where "
            "model.enlarges is prediction, else 1"
        )


def _check_attention(change: Variation) -> None:
    """Raise ValueError for a network that weighs features by a discriminator that nothing trains."""
    method = change.training.method
    if isinstance(method, MaskedMethod) or not (isinstance(change.model, HighDANModel) and change.model.attention):
        return
    discriminators = method.discriminators if isinstance(method, AdversarialMethod) else ()
    if all(discriminator.sees != "features" for discriminator in discriminators):
        raise ValueError(
            "model.attention weighs features by a discriminator that sees them: add it to method.discriminators or set "
            "model.attention=false"
        )
