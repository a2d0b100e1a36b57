"""What a few labels of the target decide, before the real training: forests tried on labels that they were not trained on.

Folds of the labels are made of blocks of pixels, so that labels beside each other are held out together. The trial forests are
small ones on all bands; networks follow their choice of the normalization, which is a property of the cities, not of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from c2seg.artifacts.runs import LabelTrial, TargetLabelChoices
from c2seg.data.normalize import Normalization
from c2seg.data.target_labels import TargetLabels
from c2seg.forest.few_labels import LabeledTarget, TargetPixels, target_pixels
from c2seg.forest.fit import SourcePixels, draw_pixels, feature_spec, grow
from c2seg.forest.table import FeatureTable
from c2seg.pipeline.prepare import Prepared
from c2seg.predict.calibration import fit_temperature
from c2seg.progress import Progress
from c2seg.recipes import Recipe
from c2seg.recipes.models import ForestModel

__all__ = ["HeldOutLabels", "LabelChoices", "choose_by_labels", "enough", "label_folds", "labeled_miou"]

_TREES = 30
_PIXELS = 1000  # of a class of the sources, in a trial
_BLOCK_PX = 8  # labels within a block are held out together
_KINDS: tuple[Normalization, ...] = ("per_city", "source")
_ALONE_MARGIN = (
    0.15  # labels near each other agree: without a clear contradiction, the sources hold where there are none
)
_ALONE = 1.0  # the labels without the sources, which they may contradict


@dataclass(frozen=True)
class LabelChoices:
    """The recipe and the data after the choices, their record, and what forests said of held-out labels (None: not tried)."""

    recipe: Recipe
    prepared: Prepared
    record: TargetLabelChoices
    held: HeldOutLabels | None = None


@dataclass(frozen=True)
class HeldOutLabels:
    """Probabilities float32 [N, K] of labeled pixels by forests that were not trained on them, output indices uint8 [N], and
    weights float64 [N] by which points and polygons are weighted equally."""

    probability: np.ndarray
    outputs: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class _Data:
    """What trial forests of one normalization are grown on."""

    drawn: SourcePixels
    few: TargetPixels


def choose_by_labels(recipe: Recipe, prepared: Prepared, seed: int, progress: Progress) -> LabelChoices:
    """Return what the labels of the target decide: the normalization, whether they are trained on, and a temperature.

    A choice changes where another is better by more than the margin, in mean IoU over held-out labels (points and polygons
    are weighted equally). Too few labels decide nothing.
    """
    settings, labels = recipe.target_labels, prepared.target_labels
    assert labels is not None
    given = recipe.decided_normalization
    undecided = TargetLabelChoices(normalization=given, weight=settings.weight)
    if not settings.choose and not (settings.calibrate and isinstance(recipe.model, ForestModel)):
        return LabelChoices(recipe, prepared, undecided)
    if not enough(labels, settings.least):
        note = f"labels of the target: fewer than {settings.least} in all but one class: they are trained on and decide nothing"
        return LabelChoices(recipe, prepared, undecided.model_copy(update={"notes": (note,)}))
    trials = _Trials(recipe, prepared, _trial_model(recipe), seed)
    kinds = tuple(dict.fromkeys((given, *_KINDS))) if settings.choose else (given,)
    for done, kind in enumerate(kinds):
        trials.run(kind, settings.weight)
        trials.run(kind, 0.0)
        progress(done + 1, len(kinds) + 1, "labels of the target")
    kind = trials.better(given, kinds, lambda name: (name, settings.weight))
    weight = settings.weight
    if settings.choose:
        trials.run(kind, _ALONE)
        weight = trials.better(weight, (weight, 0.0), lambda value: (kind, value))
        weight = trials.better(weight, (weight, _ALONE), lambda value: (kind, value), _ALONE_MARGIN)
    progress(1, 1, "labels of the target")
    return _decided(recipe, prepared, trials, kind, weight)


Trial = tuple[Normalization, float]
"""A normalization, and the weight of the labels; 0: they are not trained on."""
Choice = TypeVar("Choice")


@dataclass
class _Trials:
    """Forests tried on held-out labels: what they said of them, and its mean IoU, by trial."""

    recipe: Recipe
    prepared: Prepared
    model: ForestModel
    seed: int
    held: dict[Trial, HeldOutLabels] = field(default_factory=dict)
    miou: dict[Trial, float] = field(default_factory=dict)
    _data: dict[Normalization, _Data] = field(default_factory=dict)

    def run(self, kind: Normalization, weight: float) -> None:
        """Try a normalization and a weight."""
        data = self._data.setdefault(kind, _data(self.recipe, self.prepared, kind, self.model, self.seed))
        labels, settings, classes = (
            self.prepared.target_labels,
            self.recipe.target_labels,
            self.prepared.legend.num_classes,
        )
        assert labels is not None
        folds = label_folds(labels, data.few, settings.folds, self.seed)
        if weight:
            probability = _held_out(data, folds, self.model, weight, self.seed, classes)
        else:
            plain = grow(data.drawn, self.model, self.seed, trees=_TREES)
            probability = plain.predict(data.few.samples, classes)
        self.held[kind, weight] = HeldOutLabels(probability, data.few.outputs, unit_weights(data.few.units))
        self.miou[kind, weight] = labeled_miou(probability, data.few.outputs, data.few.units)

    def better(
        self,
        present: Choice,
        choices: Sequence[Choice],
        trial: Callable[[Choice], Trial],
        margin: float | None = None,
    ) -> Choice:
        """Return the best of some choices; the present one unless another is better by a margin (None: the recipe's)."""
        best = max(choices, key=lambda choice: self.miou[trial(choice)])
        gain = self.miou[trial(best)] - self.miou[trial(present)]
        return best if gain > (self.recipe.target_labels.margin if margin is None else margin) else present


def enough(labels: TargetLabels, least: int) -> bool:
    """Return whether at least two classes have ``least`` points or polygons."""
    _, first = np.unique(labels.units, return_index=True)
    return int((np.bincount(labels.ids[first], minlength=256) >= least).sum()) >= 2


def label_folds(labels: TargetLabels, few: TargetPixels, folds: int, seed: int) -> np.ndarray:
    """Return the fold of each pixel of ``few``, int64 [N]: units in one block of the target share one; classes are spread."""
    block_of: dict[int, tuple[int, int, int]] = {}
    class_of: dict[int, int] = {}
    for index, scene in enumerate(labels.scenes):
        for row, col, unit, number in zip(
            *(a.tolist() for a in (scene.rows, scene.cols, scene.units, scene.ids)), strict=True
        ):
            block_of.setdefault(unit, (index, row // _BLOCK_PX, col // _BLOCK_PX))
            class_of.setdefault(unit, number)
    rng = np.random.default_rng((seed, 7))
    groups: dict[tuple[int, int, int], list[int]] = {}
    for unit in rng.permutation(np.array(list(block_of))).tolist():
        groups.setdefault(block_of[unit], []).append(unit)
    counts = np.zeros((folds, 256))
    fold_of: dict[int, int] = {}
    for group in sorted(groups.values(), key=len, reverse=True):
        here = np.bincount([class_of[unit] for unit in group], minlength=256)
        fold = int(np.argmin(counts @ here + 1e-3 * counts.sum(axis=1)))  # where its classes are rarest
        counts[fold] += here
        fold_of |= dict.fromkeys(group, fold)
    return np.array([fold_of[unit] for unit in few.units.tolist()], np.int64)


def labeled_miou(probability: np.ndarray, outputs: np.ndarray, units: np.ndarray) -> float:
    """Return the mean IoU of the most probable class over labeled pixels, probabilities [N, K], to four digits.

    Points and polygons are weighted equally; classes without a label are not in the mean.
    """
    weight = unit_weights(units)
    predicted, classes = probability.argmax(axis=1), probability.shape[1]
    hit = np.bincount(outputs, weight * (predicted == outputs), minlength=classes)
    union = np.bincount(outputs, weight, minlength=classes) + np.bincount(predicted, weight, minlength=classes) - hit
    there = np.bincount(outputs, minlength=classes) > 0
    return round(float((hit[there] / union[there]).mean()), 4)


def unit_weights(units: np.ndarray) -> np.ndarray:
    """Return float64 [N]: weights of pixels by which the points and polygons that they are of are weighted equally."""
    _, which, sizes = np.unique(units, return_inverse=True, return_counts=True)
    weights: np.ndarray = 1 / sizes[which]
    return weights


def _trial_model(recipe: Recipe) -> ForestModel:
    """Return the forest of the recipe, or the one beside its networks, or the usual one, with fewer pixels."""
    model = (
        recipe.model
        if isinstance(recipe.model, ForestModel)
        else recipe.forest.model
        if recipe.forest
        else ForestModel()
    )
    return model.model_copy(update={"pixels_per_class": min(model.pixels_per_class, _PIXELS)})


def _data(recipe: Recipe, prepared: Prepared, kind: Normalization, model: ForestModel, seed: int) -> _Data:
    data = prepared if kind == recipe.normalization else prepared.normalized(kind, recipe.max_bands)
    assert data.target is not None
    assert data.target_labels is not None
    spec = feature_spec(data.sources, data.modalities, model)
    drawn = draw_pixels(data.sources, model, FeatureTable(data.modalities, spec, most_bytes=0), seed)
    target = LabeledTarget(data.target, data.target_labels, data.legend, recipe.target_labels.weight)
    return _Data(drawn, target_pixels(target, data.modalities, spec))


def _held_out(data: _Data, folds: np.ndarray, model: ForestModel, weight: float, seed: int, classes: int) -> np.ndarray:
    """Return the probabilities float32 [N, K] of the labeled pixels by forests that were not trained on their fold."""
    probability = np.zeros((len(folds), classes), np.float32)
    for fold in np.unique(folds).tolist():
        held = folds == fold
        forest = grow(data.drawn, model, seed, data.few.among(~held), weight, trees=_TREES)
        probability[held] = forest.predict(data.few.samples[held], classes)
    return probability


def _decided(recipe: Recipe, prepared: Prepared, trials: _Trials, kind: Normalization, weight: float) -> LabelChoices:
    """Return the recipe, the data and the record of what the trials decided."""
    settings = recipe.target_labels
    texts = [f"{miou:.3f} {_trial_name(trial)}" for trial, miou in trials.miou.items()]
    notes = [f"labels of the target: {_trial_name((kind, weight))} chosen; mIoU on held-out labels {', '.join(texts)}"]
    if kind != recipe.normalization:
        recipe = recipe.model_copy(update={"normalization": kind})
        prepared = prepared.normalized(kind, recipe.max_bands)
    recipe = recipe.model_copy(update={"target_labels": settings.model_copy(update={"weight": weight})})
    held, temperature = trials.held[kind, weight] if weight else None, None
    if settings.calibrate and held is not None and isinstance(recipe.model, ForestModel):  # networks: once trained
        temperature = fit_temperature(held.probability.T, held.outputs.astype(np.intp))
        notes.append(f"labels of the target: temperature of the confidence {temperature:g}")
    record = TargetLabelChoices(
        trials=tuple(LabelTrial(name=_trial_name(trial), miou=miou) for trial, miou in trials.miou.items()),
        normalization=kind,
        weight=weight,
        temperature=temperature,
        notes=tuple(notes),
    )
    return LabelChoices(recipe, prepared, record, held)


def _trial_name(trial: Trial) -> str:
    kind, weight = trial
    return f"{kind} with weight {weight:g}" if weight else f"{kind} without the labels"
