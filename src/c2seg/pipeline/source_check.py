"""Before the real training: learn a reduced copy of the recipe without some blocks of the sources, and see there what helps.

Nothing here sees a label of the target; phases that adapt to it see its images, as in the real training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from c2seg.artifacts import FOREST
from c2seg.legend import Legend
from c2seg.metrics import confusion_counts, scores
from c2seg.models.ensemble import member_prefix
from c2seg.pipeline.costs import FOREST_COSTS, STEP_COSTS, Stopwatch
from c2seg.pipeline.held_out import held_out_pixels
from c2seg.pipeline.prepare import FitJob, Prepared
from c2seg.predict import Predictor
from c2seg.predict.backends import BackendOptions
from c2seg.predict.backends.forest import forest_predictor
from c2seg.predict.backends.torch import network_predictor
from c2seg.predict.calibration import calibrated, calibration_error, fit_temperature, log_loss
from c2seg.predict.decision import expected_iou, subsampled
from c2seg.recipes import Recipe
from c2seg.recipes.schema import SourceCheck, Validation

__all__ = ["CheckedRecipe", "HeldOutPixels", "adapting_phases", "decide", "run_source_check"]

Weights = dict[str, np.ndarray]
Learn = Callable[[FitJob, Prepared, Path, int | None], tuple[Weights, dict[str, Any]]]

_PIXELS = 1_000_000  # held out and kept, evenly taken


@dataclass(frozen=True)
class CheckedRecipe:
    """What the source check leaves of a recipe, the confidence's temperature (None: not measured), and facts for the record."""

    recipe: Recipe
    temperature: float | None
    record: dict[str, Any]


@dataclass(frozen=True)
class HeldOutPixels:
    """Held-out pixels: ids uint8 [N] (0, 255: no label), and probabilities [K, N] of the networks as the recipe asks, of those
    ``without`` the adapting phases, and of the forest; None: the recipe has no such part.
    """

    reference: np.ndarray
    networks: np.ndarray
    without: np.ndarray | None = None
    forest: np.ndarray | None = None

    def mixed(self, networks: np.ndarray, weight: float) -> np.ndarray:
        """Return the probabilities float32 [K, N] of networks and forest."""
        found = networks.astype(np.float32)
        return found if self.forest is None else (1 - weight) * found + weight * self.forest.astype(np.float32)


def run_source_check(job: FitJob, prepared: Prepared, learn: Learn) -> CheckedRecipe:
    """Learn with one fold held out, measure there, and return what is to be learnt in earnest.

    ``learn`` runs the trainings of a job in a folder, without a fold, and returns tensors and facts.
    """
    watch = Stopwatch()
    source_check = job.recipe.source_check
    assert source_check is not None
    asked = _reduced(job.recipe, source_check)
    inner = replace(job, recipe=asked, bars=lambda label: job.bars(f"source check: {label}"))
    every = {name: phase.model_copy(update={"maps": True}) for name, phase in asked.phases.items()}
    whole = asked.model_copy(update={"phases": every})
    tensors, facts = learn(replace(inner, recipe=whole), prepared, job.out / "source_check", 0)
    names = adapting_phases(asked, tuple(prepared.inputs))
    checked = decide(job.recipe, names, _measure(inner, prepared, tensors, names), prepared.present, _legend(prepared))
    costs = {key: facts[key] for key in ("trainings", *STEP_COSTS, *FOREST_COSTS) if key in facts}
    spent = dict(zip(("seconds", "processor_seconds"), watch.spent(), strict=True))
    return replace(checked, record=checked.record | costs | spent)


def decide(
    recipe: Recipe, adapting: tuple[str, ...], held: HeldOutPixels, present: list[bool], legend: Legend
) -> CheckedRecipe:
    """Return what of a recipe is kept, by the mean IoU of its own decision on held-out pixels, and the temperature.

    ``adapting`` phases go when the networks without them are better by more than the margin; the forest's weight changes
    when another is better by more than the margin (0: no forest). ``present``: the classes of which anything is learnt.
    """
    source_check = recipe.source_check
    assert source_check is not None
    labeled = legend.index_table()[held.reference] < legend.num_classes
    record: dict[str, Any] = {"settings": source_check.model_dump(mode="json"), "labeled_pixels": int(labeled.sum())}
    if not labeled.any():
        note = (
            "source check: the held-out blocks have no labeled pixel: nothing was measured, the recipe is left as it is"
        )
        return CheckedRecipe(recipe, None, record | {"notes": [note]})
    trial = _Trial(recipe.prediction.decision, held, present, legend)
    notes: list[str] = []
    networks = held.networks
    if held.without is not None:
        kept, record["adaptation"] = _adaptation(trial, held.without, recipe, adapting, notes)
        if not kept:
            networks, recipe = held.without, _left_out(recipe, adapting)
    weight = 0.0
    if recipe.forest and held.forest is not None:
        weight, record["forest"] = _weight(trial, networks, recipe.forest.weight, source_check, notes)
        forest = recipe.forest.model_copy(update={"weight": weight}) if weight else None
        recipe = recipe.model_copy(update={"forest": forest})
    temperature, record["calibration"] = _calibration(trial, held.mixed(networks, weight), labeled, notes)
    return CheckedRecipe(recipe, temperature, record | {"notes": notes})


@dataclass(frozen=True)
class _Trial:
    """How held-out pixels are decided and scored."""

    decision: str
    held: HeldOutPixels
    present: list[bool]
    legend: Legend

    def decided(self, chance: np.ndarray) -> dict[str, np.ndarray]:
        """Return output indices [N] by the largest probability and, if it is another, by the recipe's decision."""
        found = {"argmax": chance.argmax(axis=0)}
        if self.decision != "argmax":
            found[self.decision] = expected_iou(subsampled([chance], len(chance)), self.present).classes(chance)
        return found

    def miou(self, networks: np.ndarray, weight: float) -> dict[str, float]:
        """Return the mean IoU of networks with a forest of this weight, by decision."""
        ids = self.legend.id_table()
        found = {}
        for name, index in self.decided(self.held.mixed(networks, weight)).items():
            counts = confusion_counts(self.held.reference, ids[index], self.legend.ids)
            found[name] = round(scores(counts).miou or 0.0, 4)
        return found


def _adaptation(
    trial: _Trial, without: np.ndarray, recipe: Recipe, adapting: tuple[str, ...], notes: list[str]
) -> tuple[bool, dict[str, Any]]:
    """Return whether the adapting phases stay, and both scores."""
    assert recipe.source_check is not None
    weight = recipe.forest.weight if recipe.forest else 0.0
    both = {"with": trial.miou(trial.held.networks, weight), "without": trial.miou(without, weight)}
    score = {name: found[trial.decision] for name, found in both.items()}
    kept = score["without"] - score["with"] <= recipe.source_check.margin
    notes.append(
        f"source check: {', '.join(adapting)} {'kept' if kept else 'left out'}: mIoU {score['with']:.3f} with, "
        f"{score['without']:.3f} without, on held-out blocks of the sources"
    )
    return kept, {"phases": list(adapting), "kept": kept, "miou": both}


def _weight(
    trial: _Trial, networks: np.ndarray, own: float, source_check: SourceCheck, notes: list[str]
) -> tuple[float, dict[str, Any]]:
    """Return the weight of the forest, and the scores by weight; ``own`` stays unless another is clearly better."""
    each = {weight: trial.miou(networks, weight) for weight in sorted({0.0, own, *source_check.weights})}
    score = {weight: found[trial.decision] for weight, found in each.items()}
    best = max(score, key=lambda weight: score[weight])
    chosen = best if score[best] - score[own] > source_check.margin else own
    change = f"kept at {own:g}" if chosen == own else f"{own:g} -> {chosen:g}"
    tried = ", ".join(f"{found:.3f} at {weight:g}" for weight, found in score.items())
    notes.append(f"source check: weight of the forest {change}: mIoU {tried}")
    return chosen, {"weight": chosen, "miou": {f"{weight:g}": found for weight, found in each.items()}}


def _calibration(
    trial: _Trial, chance: np.ndarray, labeled: np.ndarray, notes: list[str]
) -> tuple[float, dict[str, Any]]:
    """Return the temperature that labeled pixels ask for; log loss and calibration errors before and after it, the latter of
    the class that each decision takes.
    """
    label = trial.legend.index_table()[trial.held.reference][labeled]
    before = chance[:, labeled]
    temperature = fit_temperature(before, label)
    after = calibrated(before, temperature)
    errors = {}
    for name, index in trial.decided(chance).items():
        own = index[labeled][None]
        pair = (np.take_along_axis(p, own, axis=0)[0] for p in (before, after))
        found = [round(calibration_error(confidence, own[0] == label), 4) for confidence in pair]
        errors[name] = dict(zip(("before", "after"), found, strict=True))
    loss = {"before": round(log_loss(before, label), 4), "after": round(log_loss(before, label, temperature), 4)}
    told = ", ".join(f"{e['before']:.3f} -> {e['after']:.3f} by {name}" for name, e in errors.items())
    notes.append(f"source check: temperature of the confidence {temperature:g}: expected calibration error {told}")
    return temperature, {"temperature": temperature, "log_loss": loss, "expected_calibration_error": errors}


def _left_out(recipe: Recipe, names: tuple[str, ...]) -> Recipe:
    return recipe.model_copy(update={"phases": {n: phase for n, phase in recipe.phases.items() if n not in names}})


def _reduced(recipe: Recipe, source_check: SourceCheck) -> Recipe:
    """Return the recipe with fewer networks a phase, tested on the source check's folds."""
    phases = {
        name: phase.model_copy(update={"networks": min(phase.networks, source_check.networks or phase.networks)})
        for name, phase in recipe.phases.items()
    }
    folds = Validation(folds=source_check.folds, block_px=source_check.block_px, guard_px=source_check.guard_px)
    return recipe.model_copy(update={"phases": phases, "validation": folds})


def adapting_phases(recipe: Recipe, modalities: tuple[str, ...]) -> tuple[str, ...]:
    """Return the last phases, as far as they look at the target, if others come before: what can be left out as a whole."""
    taken = [(name, phase) for name, phase in recipe.phases.items() if phase.taken(modalities)]
    names: list[str] = []
    while taken and taken[-1][1].training.method.uses_target:
        names.insert(0, taken.pop()[0])
    return tuple(names) if taken else ()


def _measure(job: FitJob, prepared: Prepared, tensors: Weights, adapting: tuple[str, ...]) -> HeldOutPixels:
    """Return the held-out pixels with the probabilities of every part that may be left out."""
    recipe, modalities = job.recipe, tuple(prepared.inputs)
    classes = _legend(prepared).num_classes
    options = BackendOptions(job.device, tta=recipe.prediction.tta, tta_transforms=recipe.prediction.tta_transforms)
    variants = {"networks": recipe}
    if adapting:
        variants["without"] = _left_out(recipe, adapting)
    predictors: dict[str, Predictor] = {
        name: network_predictor(variant, prepared.channels, classes, _own(variant, tensors, modalities), options)
        for name, variant in variants.items()
    }
    if recipe.forest:
        own = {name.removeprefix(FOREST): value for name, value in tensors.items() if name.startswith(FOREST)}
        predictors["forest"] = forest_predictor(recipe.forest.model, prepared.channels, classes, own)
    scenes = [scene.grid for city in prepared.sources for scene in city.images.scenes]
    step = max(1, -(-sum(grid.height * grid.width for grid in scenes) // (recipe.validation.folds * _PIXELS)))
    reference: list[np.ndarray] = []
    chances: list[list[np.ndarray]] = [[] for _ in predictors]
    for labels, found in held_out_pixels(job, prepared, list(predictors.values()), 0):
        reference.append(labels[::step])
        for kept, chance in zip(chances, found, strict=True):
            kept.append(chance[:, ::step].astype(np.float16))
    whole = {name: np.concatenate(kept, axis=1) for name, kept in zip(predictors, chances, strict=True)}
    return HeldOutPixels(np.concatenate(reference), **whole)


def _own(recipe: Recipe, tensors: Weights, modalities: tuple[str, ...]) -> Weights:
    """Return the weights that a recipe's networks look for among those of all phases, each under its phase's name."""
    if not recipe.phases or list(recipe.networks(modalities)) != [""]:
        return tensors
    last = [name for name, phase in recipe.phases.items() if phase.taken(modalities)][-1]
    prefix = member_prefix(f"{last}.0")
    return {k.removeprefix(prefix): value for k, value in tensors.items() if k.startswith(prefix)} or tensors


def _legend(prepared: Prepared) -> Legend:
    return prepared.sources[0].images.legend
