"""What a few labels of the target decide, before the real training: forests tried on labels that they were not trained on.

Folds of the labels are made of blocks of pixels, so that labels beside each other are held out together. The trial forests are
small ones on all bands; networks follow their choice of the normalization, which is a property of the cities, not of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from c2seg.artifacts.runs import LabelTrial, TargetLabelChoices
from c2seg.data.normalize import Normalization
from c2seg.data.target_labels import TargetLabels
from c2seg.forest.features import FeatureSpec
from c2seg.forest.few_labels import LabeledTarget, TargetPixels, target_pixels
from c2seg.forest.fit import SourcePixels, draw_pixels, feature_spec, grow
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
    spec: FeatureSpec


def choose_by_labels(recipe: Recipe, prepared: Prepared, seed: int, progress: Progress) -> LabelChoices:
    """Return what the labels of the target decide: the normalization, whether they are trained on, and a temperature.

    A choice changes where another is better by more than the margin, in mean IoU over held-out labels (points and polygons
    are weighted equally). Too few labels decide nothing.
    """
    settings, labels = recipe.target_labels, prepared.target_labels
    assert labels is not None
    undecided = TargetLabelChoices(normalization=recipe.normalization, weight=settings.weight)
    if not settings.choose and not settings.calibrate:
        return LabelChoices(recipe, prepared, undecided)
    if not enough(labels, settings.least):
        note = f"labels of the target: fewer than {settings.least} in all but one class: they are trained on and decide nothing"
        return LabelChoices(recipe, prepared, undecided.model_copy(update={"notes": (note,)}))
    model = _trial_model(recipe)
    kinds = tuple(dict.fromkeys((recipe.normalization, *_KINDS))) if settings.choose else (recipe.normalization,)
    trials: list[LabelTrial] = []
    held_out: dict[str, np.ndarray] = {}
    outputs = units = np.zeros(0, np.int64)
    for done, kind in enumerate(kinds):
        data = _data(recipe, prepared, kind, model, seed)
        folds = label_folds(labels, data.few, settings.folds, seed)
        held_out[kind] = _held_out(data, folds, model, settings.weight, seed, prepared.legend.num_classes)
        outputs, units = data.few.outputs, data.few.units
        trials.append(LabelTrial(name=f"{kind}, with labels", miou=labeled_miou(held_out[kind], outputs, units)))
        plain = grow(data.drawn, model, data.spec, seed, trees=_TREES)
        alone = plain.predict(data.few.samples, prepared.legend.num_classes)
        trials.append(LabelTrial(name=f"{kind}, without labels", miou=labeled_miou(alone, outputs, units)))
        progress(done + 1, len(kinds), "labels of the target")
    held = {kind: HeldOutLabels(values, outputs, unit_weights(units)) for kind, values in held_out.items()}
    return _decided(recipe, prepared, trials, held)


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
    drawn = draw_pixels(data.sources, data.modalities, model, spec, seed)
    target = LabeledTarget(data.target, data.target_labels, data.legend, recipe.target_labels.weight)
    return _Data(drawn, target_pixels(target, data.modalities, spec), spec)


def _held_out(data: _Data, folds: np.ndarray, model: ForestModel, weight: float, seed: int, classes: int) -> np.ndarray:
    """Return the probabilities float32 [N, K] of the labeled pixels by forests that were not trained on their fold."""
    probability = np.zeros((len(folds), classes), np.float32)
    for fold in np.unique(folds).tolist():
        held = folds == fold
        forest = grow(data.drawn, model, data.spec, seed, data.few.among(~held), weight, trees=_TREES)
        probability[held] = forest.predict(data.few.samples[held], classes)
    return probability


def _decided(
    recipe: Recipe,
    prepared: Prepared,
    trials: Sequence[LabelTrial],
    held_out: dict[str, HeldOutLabels],
) -> LabelChoices:
    """Return the choices that follow from the trials."""
    settings = recipe.target_labels
    score = {trial.name: trial.miou for trial in trials}
    kind, notes = recipe.normalization, []
    if settings.choose:
        best = max(held_out, key=lambda name: score[f"{name}, with labels"])
        gain = score[f"{best}, with labels"] - score[f"{kind}, with labels"]
        changed = best if gain > settings.margin else kind
        texts = ", ".join(f"{score[f'{name}, with labels']:.3f} {name}" for name in held_out)
        notes.append(f"labels of the target: normalization {changed}: mIoU on held-out labels {texts}")
        if changed != kind:
            kind = next(name for name in _KINDS if name == changed)
            recipe = recipe.model_copy(update={"normalization": kind})
            prepared = prepared.normalized(kind, recipe.max_bands)
    both = score[f"{kind}, with labels"], score[f"{kind}, without labels"]
    trained_on = not settings.choose or both[1] - both[0] <= settings.margin
    weight = settings.weight if trained_on else 0.0
    notes.append(
        f"labels of the target: {'trained on' if trained_on else 'not trained on'}: mIoU {both[0]:.3f} with, {both[1]:.3f} "
        "without, on held-out labels"
    )
    recipe = recipe.model_copy(update={"target_labels": settings.model_copy(update={"weight": weight})})
    temperature = None
    if settings.calibrate and trained_on and isinstance(recipe.model, ForestModel):  # networks: when they are trained
        temperature = fit_temperature(held_out[kind].probability.T, held_out[kind].outputs.astype(np.intp))
        notes.append(f"labels of the target: temperature of the confidence {temperature:g}")
    record = TargetLabelChoices(
        trials=tuple(trials), normalization=kind, weight=weight, temperature=temperature, notes=tuple(notes)
    )
    return LabelChoices(recipe, prepared, record, held_out[kind] if trained_on else None)
