"""Fit a network: train on the sources (and the target's images), validate on guarded folds if the recipe asks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from c2seg.artifacts import FOREST, BandSpec
from c2seg.data import SceneReader, cached, cached_labels
from c2seg.data.memory import city_bytes
from c2seg.data.projected import mixed
from c2seg.errors import InputError
from c2seg.metrics import Confusion, confusion_counts
from c2seg.models import last_layers
from c2seg.models.ensemble import member_prefix, output_count
from c2seg.pipeline.costs import FOREST_COSTS, STEP_COSTS, Stopwatch
from c2seg.pipeline.forest import forest_tensors
from c2seg.pipeline.held_out import held_out_pixels
from c2seg.pipeline.prepare import FitJob, Prepared, scene_folds
from c2seg.pipeline.source_check import CheckedRecipe, run_source_check
from c2seg.predict import Predictor
from c2seg.predict.backends import BackendOptions
from c2seg.predict.backends.ensemble import WeightedEnsemble, with_forest
from c2seg.predict.backends.forest import forest_predictor
from c2seg.predict.backends.torch import network_predictor
from c2seg.predict.decision import expected_iou, sample_probabilities, subsampled
from c2seg.predict.plan import window_plan
from c2seg.predict.pseudo_labels import pseudo_labels
from c2seg.recipes import Recipe
from c2seg.recipes.schema import Phase
from c2seg.recipes.training import MaskedMethod, PseudoLabelMethod
from c2seg.sampling import BandUnits, TrainingScene, training_scenes
from c2seg.train import StopSignal, TrainingJob, max_parallel, train, train_in_parallel
from c2seg.train.curves import join_curves

__all__ = ["fit_network"]

Weights = dict[str, np.ndarray]

MEMBER_SEED = 1_000_000
"""Between the seeds of the members of an ensemble, so that runs with neighboring seeds share none."""


def fit_network(job: FitJob) -> tuple[dict[str, np.ndarray], Confusion | None, dict[str, Any], CheckedRecipe | None]:
    """Return the weights (none without a final training), the pooled confusion over the folds (None without validation),
    facts for the record, and what the source check, if the recipe has one, left of the recipe.
    """
    prepared = _close_at_hand(job)
    checked = run_source_check(job, prepared, _learn) if job.recipe.source_check else None
    if checked:
        job = replace(job, recipe=checked.recipe)
    folds = job.recipe.validation.count
    pooled = None
    if folds:
        pooled = Confusion.empty(prepared.sources[0].images.legend.ids)
        for fold in range(folds):
            weights, notes = _learn(job, prepared, job.out / "folds" / str(fold), fold)
            pooled += _test(job, prepared, weights, fold)
    if job.recipe.validation.final:
        weights, notes = _learn(job, prepared, job.out, None)
    else:
        weights = {}
    if checked:
        for cost in (*STEP_COSTS, *FOREST_COSTS):
            if cost in checked.record:
                notes[cost] = round(notes.get(cost, 0.0) + checked.record[cost], 6)
        notes["source_check"] = checked.record
    return weights, pooled, {"iterations": job.recipe.training.iterations, **notes}, checked


def _learn(
    job: FitJob, prepared: Prepared, folder: Path, held_out: int | None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Run every training of a recipe; return the model file's tensors and facts for the record."""
    recipe = job.recipe
    watch = Stopwatch()
    forest = forest_tensors(job, recipe.forest.model, held_out) if recipe.forest else {}
    spent = watch.spent()
    if recipe.phases:
        learnt, each = _phases(job, prepared, folder, held_out, forest)
    elif recipe.members:
        learnt, each = _members(job, prepared, folder, held_out)
    else:
        training = _Training(recipe, tuple(prepared.inputs), job.seed, folder, "training", held_out)
        learnt, each = {"": training.run(job, prepared)}, [training]
    if not learnt:
        raise InputError(f"recipe {recipe.name}: the cities lack modalities of every phase or member")
    if len(each) > 1:
        join_curves([training.folder / "curves.csv" for training in each], folder / "curves.csv")
    tensors: Weights = {member_prefix(name) + key: v for name, weights in learnt.items() for key, v in weights.items()}
    tensors |= {FOREST + name: value for name, value in forest.items()}
    facts = _facts(recipe, each, len(learnt))
    if forest:
        facts |= dict(zip(FOREST_COSTS, spent, strict=True))
    return tensors, facts


def _facts(recipe: Recipe, each: Sequence[_Training], last: int) -> dict[str, Any]:
    """Return what the record tells of the trainings; the ``last`` of them are the model."""
    facts = dict(each[-1].notes)
    for cost in ("parameters", "gflops_128"):
        facts[cost] = sum(training.notes[cost] for training in each[-last:])
    for cost in STEP_COSTS:  # of all trainings, by iteration of the recipe
        seconds = sum(t.notes.get(cost, 0.0) * t.recipe.training.iterations for t in each)
        facts[cost] = round(seconds / recipe.training.iterations, 6)
    return facts | {"trainings": len(each)}


def _members(
    job: FitJob, prepared: Prepared, folder: Path, held_out: int | None
) -> tuple[dict[str, Weights], list[_Training]]:
    """Train the members of an ensemble one after the other; return their weights by name, and the trainings."""
    learnt: dict[str, Weights] = {}
    each: list[_Training] = []
    for name, (_, inputs) in job.recipe.networks(tuple(prepared.inputs)).items():
        varied = job.recipe.varied(job.recipe.members[name])
        seed = job.seed + len(each) * MEMBER_SEED
        each.append(_Training(varied, inputs, seed, folder / "members" / name, name, held_out))
        learnt[name] = each[-1].run(job, prepared)
    return learnt, each


def _phases(
    job: FitJob, prepared: Prepared, folder: Path, held_out: int | None, forest: Weights
) -> tuple[dict[str, Weights], list[_Training]]:
    """Train phase after phase; return the weights of the networks that map by name, and all trainings."""
    done: dict[str, list[Weights]] = {}
    each: list[_Training] = []
    teachers: list[_Training] = []
    for name, phase in job.recipe.phases.items():
        inputs = phase.taken(tuple(prepared.inputs))
        if not inputs:
            continue
        varied = job.recipe.varied(phase)
        labels: tuple[np.ndarray, ...] = ()
        if isinstance(varied.training.method, PseudoLabelMethod):
            if not teachers:
                raise InputError(
                    f"phases.{name}: the cities lack modalities of every phase that could label the target"
                )
            labels = _teach(job, prepared, varied.training.method, teachers, done[teachers[0].phase], forest)
        trainings = []
        for index in range(phase.networks):
            part = f"{name}/{index}" if phase.networks > 1 else name
            start = _start(name, phase, varied, inputs, done, each, index)
            seed = job.seed + index * MEMBER_SEED
            training = _Training(varied, inputs, seed, folder / "phases" / part, part, held_out, start, labels, name)
            trainings.append(training)
        done[name] = train_in_parallel([partial(one.run, job, prepared) for one in trainings], job.device)
        count = max_parallel(len(trainings), job.device)
        for training in trainings:  # costs are read off clocks that trainings side by side share
            training.notes.update({cost: training.notes[cost] / count for cost in STEP_COSTS if cost in training.notes})
        each += trainings
        teachers = trainings if phase.labels else teachers
    learnt = {
        f"{name}.{k}": weights
        for name, networks in done.items()
        if job.recipe.phases[name].labels
        for k, weights in enumerate(networks)
    }
    names = job.recipe.networks(tuple(prepared.inputs))
    if list(names) == [""]:
        return {"": list(learnt.values())[-1]}, each
    return {name: learnt[name] for name in names}, each


def _start(
    name: str,
    phase: Phase,
    recipe: Recipe,
    inputs: tuple[str, ...],
    done: Mapping[str, list[Weights]],
    each: Sequence[_Training],
    index: int,
) -> Weights:
    """Return the first weights of network ``index`` of a phase: named parts, or all of the phase before."""
    if phase.start is not None:
        first = {earlier: networks[min(index, len(networks) - 1)] for earlier, networks in done.items()}
        return _parts(name, phase.start, first)
    if not each or (each[-1].recipe.model, each[-1].inputs) != (recipe.model, inputs):
        return {}
    before = done[each[-1].phase]
    return before[min(index, len(before) - 1)]


def _teach(
    job: FitJob,
    prepared: Prepared,
    method: PseudoLabelMethod,
    teachers: Sequence[_Training],
    weights: Sequence[Weights],
    forest: Weights,
) -> tuple[np.ndarray, ...]:
    """Return pseudo-labels uint8 [H, W], output indices, of each scene of the target, by the networks of a phase, and the
    forest where it is to label too."""
    target, normalizer = prepared.target, prepared.target_normalizer
    assert target is not None
    assert normalizer is not None
    recipe, inputs = teachers[0].recipe, teachers[0].inputs
    settings = recipe.prediction
    bands = {name: prepared.channels[name] for name in inputs}
    options = BackendOptions(job.device, tta=settings.tta, tta_transforms=settings.tta_transforms)
    predictors: list[Predictor] = [
        network_predictor(recipe, bands, target.legend.num_classes, own, options) for own in weights
    ]
    shares = [1 / len(predictors)] * len(predictors)
    if method.forest and recipe.forest:
        inputs = tuple(prepared.inputs)  # the forest looks at all of them, the networks of a phase may not
        predictors.append(forest_predictor(recipe.forest.model, prepared.channels, target.legend.num_classes, forest))
        shares = [share * (1 - recipe.forest.weight) for share in shares] + [recipe.forest.weight]
    ensemble = WeightedEnsemble(predictors, shares)
    labels = []
    for scene in target.scenes:
        plan = window_plan(scene, settings, ensemble)
        reader = SceneReader(scene, inputs, normalizer)
        decision = None
        if method.decision == "expected_iou":
            decision = expected_iou(sample_probabilities(reader, ensemble, plan), prepared.present)
        found = pseudo_labels(
            reader,
            predictors,
            plan,
            keep=method.keep,
            decision=decision,
            weights=shares,
            batch_size=settings.batch_size,
            progress=job.bars(f"pseudo-labels of {target.name}"),
        )
        labels.append(found)
    return tuple(labels)


def _parts(phase: str, start: Mapping[str, str | None], done: Mapping[str, Weights]) -> Weights:
    """Return first weights taken from parts of earlier phases; those of a phase that was left out stay random."""
    found: Weights = {}
    for place, origin in start.items():
        name, _, part = (origin or "").partition("/")
        if name not in done:
            continue
        prefix = f"{part}." if part else ""
        chosen = {key.removeprefix(prefix): v for key, v in done[name].items() if key.startswith(prefix)}
        if not chosen:
            raise InputError(f"phases.{phase}.start: no tensor of the phase {name} is in its part {part!r}")
        found |= {f"{place}.{key}" if place else key: value for key, value in chosen.items()}
    return found


@dataclass(frozen=True)
class _Training:
    """One training of a run: its recipe, modalities, seed, folder and name; ``held_out`` names the fold not learnt from."""

    recipe: Recipe
    inputs: tuple[str, ...]
    seed: int
    folder: Path
    name: str
    held_out: int | None
    start: Mapping[str, np.ndarray] = field(default_factory=dict)
    labels: tuple[np.ndarray, ...] = ()
    """Pseudo-labels of the target's scenes, if its images are to be learnt from with some."""
    phase: str = ""
    notes: dict[str, Any] = field(default_factory=dict)
    """Takes facts for the record."""

    def run(self, job: FitJob, prepared: Prepared, stop: StopSignal | None = None) -> Weights:
        """Return the weights."""
        self.folder.mkdir(parents=True, exist_ok=True)
        legend = prepared.sources[0].images.legend
        background = legend.num_classes if self.recipe.background == "learnt" else None
        source: list[TrainingScene] = []
        masked = isinstance(self.recipe.training.method, MaskedMethod)
        for city, normalizer, statistics in zip(
            prepared.sources, prepared.normalizers, prepared.source_statistics, strict=True
        ):
            units = BandUnits.of(normalizer, statistics)
            held = scene_folds(job.recipe, city) if self.held_out is not None else ()
            labels = None if masked else city
            source += training_scenes(
                city.images, self.inputs, normalizer, units, labels, held, self.held_out, background
            )
        target: list[TrainingScene] = []
        uses_target = self.recipe.training.method.uses_target or self.recipe.training.aligns
        if uses_target and prepared.target and prepared.target_normalizer and prepared.target_statistics:
            units = BandUnits.of(prepared.target_normalizer, prepared.target_statistics)
            target = training_scenes(prepared.target, self.inputs, prepared.target_normalizer, units)
            target = [
                replace(scene, targets=found) for scene, found in zip(target, self.labels, strict=False)
            ] or target
        mixed = prepared.normalizers[0].projection
        bands = {
            name: (BandSpec(),) * len(mixed[name]) if name in mixed else prepared.inputs[name] for name in self.inputs
        }
        training = TrainingJob(
            recipe=self.recipe,
            bands={name: len(found) for name, found in bands.items()},
            num_classes=sum(map(len, bands.values())) if masked else output_count(self.recipe, legend.num_classes),
            source=source,
            target=target,
            seed=self.seed,
            folder=self.folder,
            data=_data_fingerprint(job.prepared, self.held_out, self.labels),
            device=job.device,
            inputs=bands,
            start=self.start,
            notes=self.notes,
        )
        label = self.name if self.held_out is None else f"fold {self.held_out + 1} {self.name}"
        weights = train(training, resume=job.resume, progress=job.bars(label), stop=stop)
        if masked:  # the last layers give bands: the next phase's start random
            weights = {k: v for k, v in weights.items() if k not in last_layers(self.recipe.model, training.bands)}
        return weights


def _test(job: FitJob, prepared: Prepared, weights: dict[str, np.ndarray], fold: int) -> Confusion:
    """Return the confusion over the pixels of one fold."""
    legend = prepared.sources[0].images.legend
    settings = job.recipe.prediction
    bands = prepared.channels
    options = BackendOptions(job.device, tta=settings.tta, tta_transforms=settings.tta_transforms)
    networks = network_predictor(job.recipe, bands, legend.num_classes, weights, options)
    predictor = with_forest(networks, job.recipe, bands, weights)
    total = Confusion.empty(legend.ids)
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    for reference, (chance,) in held_out_pixels(job, prepared, [predictor], fold):
        if settings.decision == "argmax":
            total += confusion_counts(reference, legend.id_table()[chance.argmax(axis=0)], legend.ids)
        else:  # decided when all are known
            kept.append((reference, chance.astype(np.float16)))
    if kept:
        decision = expected_iou(subsampled([chance for _, chance in kept], legend.num_classes), prepared.present)
        for reference, chance in kept:
            total += confusion_counts(reference, legend.id_table()[decision.classes(chance)], legend.ids)
    return total


def _close_at_hand(job: FitJob) -> Prepared:
    """Return the cities in memory as far as the budget goes, else from the cache folder, else from their files.

    Training reads the same pixels many times; a memory map is a hundred times faster than compressed files. Bands of which
    networks see components are kept as these.
    """
    prepared, room = job.prepared, job.storage.memory_bytes
    sources, normalizers = [], []
    for city, normalizer in zip(prepared.sources, prepared.normalizers, strict=True):
        images, left = mixed(city.images, normalizer)
        sources.append(cached_labels(replace(city, images=images), job.storage.cache, room, job.bars("cache")))
        normalizers.append(left)
        room -= size if (size := city_bytes(images)) <= room else 0
    target, target_normalizer = prepared.target, prepared.target_normalizer
    if target is not None and target_normalizer is not None and job.recipe.uses_target:
        target, target_normalizer = mixed(target, target_normalizer)
        target = cached(target, job.storage.cache, room, job.bars("cache"))
    return replace(
        prepared,
        sources=tuple(sources),
        normalizers=tuple(normalizers),
        target=target,
        target_normalizer=target_normalizer,
    )


def _data_fingerprint(prepared: Prepared, held_out: int | None, labels: Sequence[np.ndarray] = ()) -> str:
    parts = [(c.images.fingerprint(), c.label_fingerprint()) for c in prepared.sources]
    target = prepared.target.fingerprint() if prepared.target else None
    digest = hashlib.sha256(json.dumps([parts, target, held_out]).encode())
    for found in labels:
        digest.update(found.data)
    return digest.hexdigest()[:16]
