"""Train a reduced copy of the recipe without some blocks of the sources, and measure there which of its parts help.

This happens before the real training. No label of the target is used. Stages that adapt to it use its images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from c2seg.artifacts import FOREST, TrainingFacts
from c2seg.artifacts.runs import (
    AdaptationCheck,
    BeforeAfter,
    CalibrationCheck,
    ForestWeightCheck,
    SourceCheckRecord,
)
from c2seg.legend import Legend
from c2seg.metrics import confusion_counts, scores
from c2seg.pipeline.costs import COSTS, Stopwatch
from c2seg.pipeline.held_out import held_out_pixels
from c2seg.pipeline.prepare import FitJob, Prepared
from c2seg.pipeline.stages import TrainedStages
from c2seg.predict import Predictor
from c2seg.predict.backends import BackendOptions
from c2seg.predict.backends.forest import forest_predictor
from c2seg.predict.backends.torch import network_predictor
from c2seg.predict.calibration import calibrated, calibration_error, fit_temperature, log_loss
from c2seg.predict.decision import ModelFacts, decide_for, subsampled
from c2seg.recipes import Recipe
from c2seg.recipes.changes import resized
from c2seg.recipes.schema import SourceCheck, Validation

__all__ = ["CheckedRecipe", "HeldOutPixels", "adapting_stages", "decide", "part_predictors", "run_source_check"]

Weights = dict[str, np.ndarray]
TrainWithoutFold = Callable[[FitJob, Prepared, Validation, Path, int], tuple[Prepared, TrainedStages]]

_PIXELS = 1_000_000  # held out and evaluated, evenly subsampled


@dataclass(frozen=True)
class CheckedRecipe:
    """The recipe after the source check, the confidence's temperature (None: not measured), and what was measured."""

    recipe: Recipe
    temperature: float | None
    record: SourceCheckRecord
    facts: TrainingFacts | None = None
    """Costs of the trial's training."""


@dataclass(frozen=True)
class HeldOutPixels:
    """Held-out pixels: ids uint8 [N] (0, 255: no label), and probabilities [K, N] of the recipe's networks, of those
    ``without`` the adapting stages, and of the forest; None: the recipe has no such part.
    """

    reference: np.ndarray
    networks: np.ndarray
    without: np.ndarray | None = None
    forest: np.ndarray | None = None

    def ensemble(self, networks: np.ndarray, weight: float) -> np.ndarray:
        """Return the probabilities float32 [K, N] of networks and forest."""
        probabilities = networks.astype(np.float32)
        if self.forest is None:
            return probabilities
        return (1 - weight) * probabilities + weight * self.forest.astype(np.float32)


def run_source_check(job: FitJob, data: Prepared, train: TrainWithoutFold) -> CheckedRecipe:
    """Train with one fold held out, measure there, and return the recipe of the real training.

    ``train`` trains the stages of a job in a folder without a fold, and returns the data that hold it out, too.
    """
    watch = Stopwatch()
    settings = job.recipe.checks
    assert settings is not None
    recipe = job.recipe.model_copy(update={"source_check": settings})
    reduced = _reduced(recipe, settings, data.modalities)
    inner = replace(job, recipe=reduced, bars=lambda label: job.bars(f"source check: {label}"))
    whole = replace(inner, recipe=reduced.with_stages(keep_in_ensemble=True))
    held, trained = train(whole, data, reduced.validation, job.out / "source_check", 0)
    names = adapting_stages(reduced, data.modalities)
    pixels = _measure(inner, held, trained.tensors, names)
    checked = decide(recipe, names, pixels, data.present, data.legend)
    seconds, processor_seconds = watch.spent()
    costs = {name: getattr(trained.facts, name) for name in ("trainings", *COSTS)}
    measured = costs | {"seconds": seconds, "processor_seconds": processor_seconds}
    decided = checked.recipe.model_copy(update={"source_check": job.recipe.source_check})
    return replace(checked, recipe=decided, record=checked.record.model_copy(update=measured), facts=trained.facts)


def decide(
    recipe: Recipe,
    adapting: tuple[str, ...],
    held: HeldOutPixels,
    present: list[bool],
    legend: Legend,
    title: str = "source check",
    where: str = "held-out blocks of the sources",
) -> CheckedRecipe:
    """Return the parts of a recipe that improve the mean IoU of its decision on held-out pixels, and the temperature.

    ``title`` begins the notes, and ``where`` says in them what was held out.

    ``adapting`` stages are left out when the networks without them are better by more than the margin. The forest's weight
    changes when another is better by more than the margin (0: no forest). ``present``: the classes with training pixels.
    """
    source_check = recipe.source_check
    assert source_check is not None
    labeled = legend.index_table()[held.reference] < legend.num_classes
    record = SourceCheckRecord(settings=source_check, labeled_pixels=int(labeled.sum()), notes=())
    if not labeled.any():
        note = f"{title}: {where} have no labeled pixel: nothing was measured, the recipe is unchanged"
        return CheckedRecipe(recipe, None, record.model_copy(update={"notes": (note,)}))
    trial = _Trial(recipe.prediction.decision, held, present, legend, title, where)
    notes: list[str] = []
    networks, adaptation, forest_weight = held.networks, None, None
    if held.without is not None:
        adaptation = _adaptation(trial, held.without, recipe, adapting, notes)
        if not adaptation.adaptation_kept:
            networks, recipe = held.without, recipe.without_stages(adapting)
    weight = 0.0
    if recipe.forest and held.forest is not None:
        forest_weight = _weight(trial, networks, recipe.forest.weight, source_check, notes)
        weight = forest_weight.weight
        forest = recipe.forest.model_copy(update={"weight": weight}) if weight else None
        recipe = recipe.model_copy(update={"forest": forest})
    calibration = None
    if source_check.fraction == 1:  # networks that train longer are surer
        calibration = _calibration(trial, held.ensemble(networks, weight), labeled, notes)
    parts = {"adaptation": adaptation, "forest": forest_weight, "calibration": calibration, "notes": tuple(notes)}
    measured = {name: part for name, part in parts.items() if part is not None}
    temperature = calibration.temperature if calibration else None
    return CheckedRecipe(recipe, temperature, record.model_copy(update=measured))


@dataclass(frozen=True)
class _Trial:
    """How held-out pixels are decided and scored."""

    decision: str
    held: HeldOutPixels
    present: list[bool]
    legend: Legend
    title: str
    where: str

    def decided(self, probabilities: np.ndarray) -> dict[str, np.ndarray]:
        """Return output indices [N] by the largest probability and, if it is another, by the recipe's decision."""
        decisions = {"argmax": probabilities.argmax(axis=0)}
        if self.decision != "argmax":
            whole = subsampled([probabilities], len(probabilities))
            decision = decide_for(self.decision, whole, ModelFacts(tuple(self.present)))
            decisions[self.decision] = decision.classes(probabilities) if decision else decisions["argmax"]
        return decisions

    def miou(self, networks: np.ndarray, weight: float) -> dict[str, float]:
        """Return the mean IoU of networks with a forest of this weight, by decision."""
        ids = self.legend.id_table()
        miou = {}
        for name, index in self.decided(self.held.ensemble(networks, weight)).items():
            counts = confusion_counts(self.held.reference, ids[index], self.legend.ids)
            miou[name] = round(scores(counts).miou or 0.0, 4)
        return miou


def _adaptation(
    trial: _Trial, without: np.ndarray, recipe: Recipe, adapting: tuple[str, ...], notes: list[str]
) -> AdaptationCheck:
    """Return whether the adapting stages stay, and both scores."""
    assert recipe.source_check is not None
    weight = recipe.forest.weight if recipe.forest else 0.0
    both = {"with": trial.miou(trial.held.networks, weight), "without": trial.miou(without, weight)}
    score = {name: miou[trial.decision] for name, miou in both.items()}
    keep = score["without"] - score["with"] <= recipe.source_check.margin
    notes.append(
        f"{trial.title}: {', '.join(adapting)} {'kept' if keep else 'left out'}: mIoU {score['with']:.3f} with, "
        f"{score['without']:.3f} without, on {trial.where}"
    )
    return AdaptationCheck(stages=adapting, kept=keep, miou=both)


def _weight(
    trial: _Trial, networks: np.ndarray, present_weight: float, source_check: SourceCheck, notes: list[str]
) -> ForestWeightCheck:
    """Return the weight of the forest, and the scores by weight; ``present_weight`` stays unless another is clearly better."""
    tried = {weight: trial.miou(networks, weight) for weight in sorted({0.0, present_weight, *source_check.weights})}
    score = {weight: miou[trial.decision] for weight, miou in tried.items()}
    best = max(score, key=lambda weight: score[weight])
    chosen = best if score[best] - score[present_weight] > source_check.margin else present_weight
    change = f"kept at {chosen:g}" if chosen == present_weight else f"{present_weight:g} -> {chosen:g}"
    texts = ", ".join(f"{miou:.3f} at {weight:g}" for weight, miou in score.items())
    notes.append(f"{trial.title}: weight of the forest {change}: mIoU {texts}")
    return ForestWeightCheck(weight=chosen, miou={f"{weight:g}": miou for weight, miou in tried.items()})


def _calibration(trial: _Trial, probabilities: np.ndarray, labeled: np.ndarray, notes: list[str]) -> CalibrationCheck:
    """Return the temperature fitted to labeled pixels, and log loss and calibration errors before and after it.

    Calibration errors are those of the class that each decision takes.
    """
    label = trial.legend.index_table()[trial.held.reference][labeled]
    before = probabilities[:, labeled]
    temperature = fit_temperature(before, label)
    after = calibrated(before, temperature)
    errors = {}
    for name, index in trial.decided(probabilities).items():
        decided = index[labeled][None]
        pair = (np.take_along_axis(p, decided, axis=0)[0] for p in (before, after))
        first, last = (round(calibration_error(confidence, decided[0] == label), 4) for confidence in pair)
        errors[name] = BeforeAfter(before=first, after=last)
    loss = BeforeAfter(before=round(log_loss(before, label), 4), after=round(log_loss(before, label, temperature), 4))
    texts = ", ".join(f"{error.before:.3f} -> {error.after:.3f} by {name}" for name, error in errors.items())
    notes.append(f"{trial.title}: temperature of the confidence {temperature:g}: expected calibration error {texts}")
    return CalibrationCheck(temperature=temperature, log_loss=loss, expected_calibration_error=errors)


def _reduced(recipe: Recipe, settings: SourceCheck, modalities: tuple[str, ...]) -> Recipe:
    """Return the recipe with fewer networks a stage, shorter if asked for, tested on the source check's folds."""
    if not settings.adaptation:
        recipe = recipe.without_stages(adapting_stages(recipe, modalities))
    recipe = resized(recipe, length=settings.fraction)
    stages = {
        name: stage.model_copy(update={"networks": min(stage.networks, settings.networks or stage.networks)})
        if isinstance(stage.networks, int)
        else stage
        for name, stage in recipe.stages.items()
    }
    folds = Validation(folds=settings.folds, block_px=settings.block_px, guard_px=settings.guard_px)
    return recipe.model_copy(update={"stages": stages, "validation": folds})


def adapting_stages(recipe: Recipe, modalities: tuple[str, ...]) -> tuple[str, ...]:
    """Return the last stages that train on the target, if other stages come before them: they can be left out together."""
    names = [name for name in recipe.stages if recipe.stage_networks(name, modalities)]
    adapting: list[str] = []
    while names and recipe.stages[names[-1]].training.method.uses_target:
        adapting.insert(0, names.pop())
    return tuple(adapting) if names else ()


def _measure(job: FitJob, held: Prepared, tensors: Weights, adapting: tuple[str, ...]) -> HeldOutPixels:
    """Return the held-out pixels with the probabilities of every part that may be left out."""
    recipe = job.recipe
    predictors = part_predictors(job, held, tensors, adapting)
    scenes = [scene.grid for source in held.sources for scene in source.images.scenes]
    step = max(1, -(-sum(grid.height * grid.width for grid in scenes) // (recipe.validation.folds * _PIXELS)))
    references: list[np.ndarray] = []
    probabilities: dict[str, list[np.ndarray]] = {name: [] for name in predictors}
    for ids, strips in held_out_pixels(held, recipe.prediction, list(predictors.values()), job.bars("scored")):
        references.append(ids[::step])
        for name, values in zip(predictors, strips, strict=True):
            probabilities[name].append(values[:, ::step].astype(np.float16))
    whole = {name: np.concatenate(values, axis=1) for name, values in probabilities.items()}
    return HeldOutPixels(np.concatenate(references), **whole)


def part_predictors(job: FitJob, held: Prepared, tensors: Weights, adapting: tuple[str, ...]) -> dict[str, Predictor]:
    """Return the predictors of the networks, of those without the adapting stages, and of the forest."""
    recipe, classes = job.recipe, held.legend.num_classes
    settings = recipe.prediction
    options = BackendOptions(job.device, tta=settings.tta, tta_transforms=settings.tta_transforms)
    variants = {"networks": recipe} | ({"without": recipe.without_stages(adapting)} if adapting else {})
    predictors: dict[str, Predictor] = {
        name: network_predictor(variant, held.channels, classes, tensors, options) for name, variant in variants.items()
    }
    if recipe.forest:
        forest = {name.removeprefix(FOREST): value for name, value in tensors.items() if name.startswith(FOREST)}
        predictors["forest"] = forest_predictor(recipe.forest.model, held.channels, classes, forest)
    return predictors
