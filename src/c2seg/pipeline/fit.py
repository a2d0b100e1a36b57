"""Train a model on labeled cities, and optionally on an unlabeled target, and write a run folder.

A run folder holds ``model.safetensors``, ``recipe.yaml`` (resolved), ``record.json`` (provenance), for networks
``curves.csv`` and the state to resume from, and with validation ``validation.json`` (pooled confusion and scores).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from c2seg.artifacts import Header, RunRecord, ValidationRecord, provenance, run_provenance
from c2seg.artifacts.runs import RunSummary, TargetLabelChoices
from c2seg.data.inputs import city_inputs
from c2seg.data.layouts import layout_plugins
from c2seg.data.normalize import IN_PHYSICAL_UNITS
from c2seg.data.tile_folds import TileFolds
from c2seg.errors import needs_extra
from c2seg.outputs import working_in
from c2seg.pipeline.announcing import announced, plan_of, trained_line
from c2seg.pipeline.comparison import prepare_comparing
from c2seg.pipeline.costs import device_memory_mib
from c2seg.pipeline.drift import sample_pixels
from c2seg.pipeline.fitted import Fitted
from c2seg.pipeline.forest import fit_forest_model
from c2seg.pipeline.label_record import labels_record
from c2seg.pipeline.label_shares import class_factors
from c2seg.pipeline.label_trials import LabelChoices, choose_by_labels
from c2seg.pipeline.prepare import FitJob, LabelFile, Prepared, Storage
from c2seg.pipeline.run_folder import RunFiles, check_run_folder, write_run
from c2seg.pipeline.source_size import fitted_to_source
from c2seg.pipeline.summary import SummaryFacts, seen_pixels, summarize
from c2seg.pipeline.training_shares import training_shares
from c2seg.process import is_first, peak_memory_mib
from c2seg.progress import Bars, silent_bars
from c2seg.recipes import Recipe, plugins_of, random_start
from c2seg.recipes.models import ForestModel

__all__ = ["FitResult", "fit"]


@dataclass(frozen=True)
class FitResult:
    """The path of the model (None if only guarded folds were trained), the scores on the source's folds (None without
    validation), seconds, and notes for people."""

    model: Path | None
    validation: ValidationRecord | None
    seconds: float
    notes: tuple[str, ...] = ()
    summary: RunSummary | None = None
    """The run at a glance; None in processes that write nothing."""
    trained: str = ""
    """What was trained, in a line for people."""


def fit(
    recipe: Recipe,
    sources: Sequence[Path],
    out: Path,
    *,
    target: Path | None = None,
    seed: int = 0,
    device: str = "auto",
    overwrite: bool = False,
    resume: bool = False,
    label_map: str | None = None,
    target_labels: LabelFile | None = None,
    preset: str | None = None,
    storage: Storage = Storage(),  # noqa: B008 (frozen)
    inputs: Sequence[Path] = (),
    bars: Bars = silent_bars,
    command: Sequence[str] = (),
) -> FitResult:
    """Train ``recipe`` on the source cities and write the run folder ``out``.

    ``label_map`` is the label mapping of the sources where the layout does not state it (a name, a file, ``auto``).
    Only images of ``target`` are opened. ``target_labels`` is a file of a few labels of it, the only ones that are read: the
    run is then few-shot, and marked so. ``preset`` is for the summary. ``inputs`` are further files that nothing may replace.
    Raises C2SegError subclasses for wrong input; nothing is left half written. All files appear together, the model last.
    """
    read = [path for city in (*sources, *([target] if target else [])) for path in city_inputs(city)]
    read += [target_labels.path] if target_labels else []
    check_run_folder(out, recipe, [*read, *inputs], overwrite=overwrite, resume=resume)
    with working_in(out) if is_first() else nullcontext():  # under torchrun the first process writes and reports
        started = time.perf_counter()
        process = provenance(seed=seed, device=device, command=command)
        recipe, alone = (recipe, ()) if target else _alone(recipe)
        compared = prepare_comparing(recipe, sources, target, label_map, seed, bars, target_labels)
        recipe, prepared = compared.recipe, compared.prepared
        # As the cities were opened, whatever labels choose.
        in_physical_units = recipe.normalization in IN_PHYSICAL_UNITS
        chosen = _choices(recipe, prepared, seed, bars)
        recipe, prepared, choices = (
            (chosen.recipe, chosen.prepared, chosen.record) if chosen else (recipe, prepared, None)
        )
        is_forest = isinstance(recipe.model, ForestModel)
        folds = _kind_of_folds(recipe, prepared)
        sized, size = (recipe, None) if is_forest else fitted_to_source(recipe, prepared)
        plan = plan_of(sized, prepared, preset, device)
        shown = announced(plan, bars) if is_first() else silent_bars
        job = FitJob(sized, prepared, out, seed, device, resume, shown, storage)
        trained = _train(job)
        checked, facts = trained.checked, trained.facts.model_copy(update={"random_start": random_start(recipe)})
        decided = trained.labeled or checked
        factors, choices = _class_factors(job, trained, chosen)
        origin = run_provenance(process, recipe, *prepared.origins(), labels_record(recipe, prepared))
        temperature = decided.temperature if decided else choices.temperature if choices and is_forest else None
        header = Header(
            recipe=decided.recipe if decided else sized,
            inputs=prepared.inputs,
            statistics=prepared.statistics,
            units=dict(prepared.units),
            in_physical_units=in_physical_units,
            legend=prepared.legend,
            provenance=origin,
            trained_classes=prepared.trained_classes,
            projection={name: tuple(map(tuple, rows.tolist())) for name, rows in prepared.projection.items()},
            plugins=(*plugins_of(recipe), *layout_plugins([*sources, *([target] if target else [])])),
            target_statistics=prepared.target_statistics if recipe.follows_city else None,
            confidence_temperature=temperature,
            class_factors=factors,
            training_shares=training_shares(decided.recipe if decided else sized, prepared, seed),
        )
        validation = _validation(trained, folds)
        bar = shown("drift")
        bar(0, 2, "pixels of the sources")
        sampled = sample_pixels(prepared.sources, prepared.modalities, seed)
        bar(1, 2, "pixels of the target" if target else "summary")
        summary_facts = SummaryFacts(out, target, preset, seed)
        summary = summarize(prepared, sampled, validation, summary_facts) if is_first() else None
        bar(2, 2)
        seconds = time.perf_counter() - started
        record = RunRecord(
            **dict(origin),
            **dict(facts),
            source_size=size,
            source_check=checked.record if checked else None,
            normalization_check=compared.record,
            label_choices=choices,
            label_check=trained.labeled.record if trained.labeled else None,
            summary=summary,
            seconds=round(seconds, 3),
            peak_memory_mib=round(peak_memory_mib(), 1),
            device_memory_mib=device_memory_mib(),
        )
        best = trained.offline.best if trained.offline and not recipe.validation.final else {}
        if is_first():
            seen = seen_pixels(prepared, sampled, origin.run_id)
            write_run(out, RunFiles(recipe, header, trained.tensors, record, validation, trained.curves, seen, best))
        notes = (*alone, *prepared.notes, *_notes(record, trained))
        model = out / "model.safetensors" if trained.tensors else None
        return FitResult(model, validation, seconds, notes, summary, trained_line(plan))


def _choices(recipe: Recipe, prepared: Prepared, seed: int, bars: Bars) -> LabelChoices | None:
    """Return what a few labels of the target decide before the training; None without any."""
    if prepared.target_labels is None:
        return None
    return choose_by_labels(recipe, prepared, seed, bars("labels of the target"))


def _class_factors(
    job: FitJob, trained: Fitted, chosen: LabelChoices | None
) -> tuple[tuple[float, ...] | None, TargetLabelChoices | None]:
    """Return the factors of the classes that the labels ask for, of a forest, and the record of the choices with them."""
    model, record = job.recipe.model, chosen.record if chosen else None
    if chosen is None or record is None or chosen.held is None or record.temperature is None:
        return None, record
    if not isinstance(model, ForestModel) or not trained.tensors:
        return None, record
    factors, note = class_factors(job, model, trained.tensors, chosen.held, record.temperature)
    named = dict(zip(job.prepared.legend.names, factors, strict=True)) if factors else None
    return factors, record.model_copy(update={"class_factors": named, "notes": (*record.notes, note)})


def _validation(trained: Fitted, folds: str) -> ValidationRecord | None:
    """Return the scores on the held-out folds, which ``folds`` describes; None without any."""
    if trained.validation is None:
        return None
    offline = trained.offline.record if trained.offline else None
    return ValidationRecord.of(folds, trained.validation, trained.reliability, offline)


def _notes(record: RunRecord, trained: Fitted) -> tuple[str, ...]:
    """Return what people are to know of a run: of its weights, its sources, its training, and what was decided by itself."""
    weights = (record.pretrained and record.pretrained.line, record.random_start)
    checks = [record.source_check, record.label_check, record.normalization_check]
    return (
        *(text for text in weights if text), *(record.source_size.notes if record.source_size else ()), *trained.notes,
        *(record.label_choices.notes if record.label_choices else ()),
        *(note for check in checks if check for note in check.notes),
    )  # fmt: skip


def _train(job: FitJob) -> Fitted:
    """Train the forest or the networks of a recipe."""
    if isinstance(job.recipe.model, ForestModel):
        return fit_forest_model(job, job.recipe.model)
    with needs_extra("training a network", "train"):
        from c2seg.pipeline.network import fit_networks
    return fit_networks(job)


def _alone(recipe: Recipe) -> tuple[Recipe, tuple[str, ...]]:
    """Return the part of a recipe that can be trained without a target, and notes on what is left out."""
    rest = recipe.without_target()
    if rest.normalization == "auto":
        rest = rest.model_copy(update={"normalization": "per_city"})
    left_out = [name for name in recipe.stages if name not in rest.stages]
    if not left_out:
        return rest, ()
    return rest, (f"no `target`: {', '.join(left_out)} left out, nothing is trained on the target city",)


def _kind_of_folds(recipe: Recipe, prepared: Prepared) -> str:
    """Return how the sources are divided for validation, as text."""
    if recipe.validation.count and recipe.validation.kind == "random_tiles":
        sources = prepared.with_folds(recipe.validation).sources
        folds = [f for source in sources for f in source.city.folds if isinstance(f, TileFolds)]
        whose = "released" if all(f.split.is_released for f in folds) else "random"
        return f"{whose} split of half-overlapping tiles, which leaks: {'; '.join(f.leak.text for f in folds)}"
    return f"{recipe.validation.folds} interleaved guarded block folds over the sources, pooled"
