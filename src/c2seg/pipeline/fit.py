"""Train a model on labeled cities, and optionally on an unlabeled target, and write a run folder.

A run folder holds ``model.safetensors``, ``recipe.yaml`` (resolved), ``record.json`` (provenance), for networks
``curves.csv`` and the state to resume from, and with validation ``validation.json`` (pooled confusion and scores).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import yaml

from c2seg.artifacts import (
    Header,
    Provenance,
    RunProvenance,
    RunRecord,
    SourceCity,
    TargetCity,
    ValidationRecord,
    provenance,
    run_provenance,
    write_model_file,
)
from c2seg.artifacts.runs import TrainingFacts
from c2seg.data import BandStatistics
from c2seg.data.inputs import city_inputs
from c2seg.data.layouts import layout_plugins
from c2seg.data.tile_folds import TileFolds
from c2seg.errors import OutputError, needs_extra
from c2seg.metrics import Confusion
from c2seg.outputs import Output, check_outputs, commit, make_folder, replaces_json, working_in
from c2seg.pipeline.colors import with_colors
from c2seg.pipeline.forest import fit_forest_model
from c2seg.pipeline.prepare import FitJob, Prepared, Storage, prepare
from c2seg.predict.workers import peak_memory_mib
from c2seg.process import is_first
from c2seg.progress import Bars, silent_bars
from c2seg.recipes import Recipe, plugins_of
from c2seg.recipes.models import ForestModel

__all__ = ["FitResult", "fit"]


@dataclass(frozen=True)
class FitResult:
    """The path of the model (None if only folds were trained), the scores on the source's folds (None without validation),
    seconds, and notes for people."""

    model: Path | None
    validation: ValidationRecord | None
    seconds: float
    notes: tuple[str, ...] = ()


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
    storage: Storage = Storage(),  # noqa: B008 (frozen)
    inputs: Sequence[Path] = (),
    bars: Bars = silent_bars,
    command: Sequence[str] = (),
) -> FitResult:
    """Train ``recipe`` on the source cities and write the run folder ``out``.

    ``label_map`` is the label mapping of the sources where the layout does not state it (a name, a file, ``auto``).
    Only images of ``target`` are opened. ``inputs`` are further files that nothing may replace. Raises C2SegError subclasses
    for wrong input; nothing is left half written. All files appear together, the model last.
    """
    outputs = _outputs(out)
    read = [path for city in (*sources, *([target] if target else [])) for path in city_inputs(city)]
    check_run_folder(
        out,
        outputs,
        [*read, *inputs, *_named_files(recipe.model_dump(mode="json"))],
        overwrite=overwrite,
        resume=resume,
    )
    with working_in(out) if is_first() else nullcontext():  # under torchrun the first process writes and reports
        started = time.perf_counter()
        recipe, alone = (recipe, ()) if target else _alone(recipe)
        prepared = prepare(recipe, sources, target, label_map, bars("statistics"))
        recipe, remarks = with_colors(recipe, prepared.inputs)
        origin = _provenance(recipe, prepared, provenance(seed=seed, device=device, command=command))
        header = Header(
            recipe=recipe,
            inputs=prepared.inputs,
            statistics=prepared.statistics,
            legend=prepared.legend,
            provenance=origin,
            trained_classes=prepared.trained_classes,
            projection={name: tuple(map(tuple, rows.tolist())) for name, rows in prepared.projection.items()},
            plugins=(*plugins_of(recipe), *layout_plugins([*sources, *([target] if target else [])])),
            target_statistics=_target_statistics(recipe, prepared),
        )
        job = FitJob(recipe, prepared, out, seed, device, resume, bars if is_first() else silent_bars, storage)
        if isinstance(recipe.model, ForestModel):
            tensors, pooled = fit_forest_model(job, recipe.model)
            facts, checked, curves = TrainingFacts(), None, ""
        else:
            with needs_extra("training a network", "train"):
                from c2seg.pipeline.network import fit_networks
            fitted = fit_networks(job)
            tensors, pooled, facts, checked = fitted.tensors, fitted.validation, fitted.facts, fitted.checked
            curves = fitted.curves
        if checked:
            header = header.model_copy(update={"recipe": checked.recipe, "confidence_temperature": checked.temperature})
        notes = (
            *alone,
            *prepared.notes,
            *_notes(prepared),
            *remarks,
            *([facts.pretrained.line] if facts.pretrained else []),
            *(checked.record.notes if checked else ()),
        )
        validation = None if pooled is None else _validation(recipe, prepared, pooled)
        seconds = time.perf_counter() - started
        model = out / "model.safetensors" if recipe.validation.final else None
        if is_first():
            record = RunRecord(
                **dict(origin),
                **dict(facts),
                source_check=checked.record if checked else None,
                seconds=round(seconds, 3),
                peak_memory_mib=round(peak_memory_mib(), 1),
            )
            with commit(overwrite=True) as files:
                if model:
                    write_model_file(files.add(outputs["model"], main=True), header, tensors)
                files.text(outputs["recipe"], yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))
                files.text(outputs["record"], record.as_text(), main=model is None)
                if validation:
                    files.text(outputs["validation"], validation.as_text())
                if curves:
                    files.text(outputs["curves"], curves)
        return FitResult(model, validation, seconds, notes)


def _target_statistics(recipe: Recipe, prepared: Prepared) -> dict[str, BandStatistics] | None:
    """Return what normalizes images of the target that come without their city."""
    return dict(prepared.target.statistics) if prepared.target and recipe.follows_city else None


def _provenance(recipe: Recipe, prepared: Prepared, process: Provenance) -> RunProvenance:
    """Return where the run comes from, with its id."""
    sources = tuple(
        SourceCity(name=source.images.name, images=source.images.fingerprint(), labels=source.city.label_fingerprint())
        for source in prepared.sources
    )
    target = prepared.target.city if prepared.target else None
    unlabeled = TargetCity(name=target.name, images=target.fingerprint()) if target else None
    return run_provenance(process, recipe, sources, unlabeled)


def _alone(recipe: Recipe) -> tuple[Recipe, tuple[str, ...]]:
    """Return the part of a recipe that can be trained without a target, and notes on what is left out."""
    rest = recipe.without_target()
    left_out = [name for name in recipe.stages if name not in rest.stages]
    if not left_out:
        return recipe, ()
    return rest, (f"no `target`: {', '.join(left_out)} left out, nothing is trained on the target city",)


def _notes(prepared: Prepared) -> tuple[str, ...]:
    """Return notes on classes without a labeled pixel in the sources."""
    unknown = [f"{item.id} {item.name}" for item in prepared.legend.classes if item.id not in prepared.trained_classes]
    if not unknown:
        return ()
    return (f"no labeled pixel of {'; '.join(unknown)} in the sources: the model will never predict them",)


def _validation(recipe: Recipe, prepared: Prepared, pooled: Confusion) -> ValidationRecord:
    kind = f"{recipe.validation.folds} interleaved guarded block folds over the sources, pooled"
    if recipe.validation.kind == "random_tiles":
        sources = prepared.with_folds(recipe.validation).sources
        leaks = [f.leak.text for source in sources for f in source.city.folds if isinstance(f, TileFolds)]
        kind = f"random split of half-overlapping tiles, which leaks: {'; '.join(leaks)}"
    return ValidationRecord.of(kind, pooled)


def check_run_folder(
    out: Path, outputs: Mapping[str, Output], inputs: Sequence[Path], *, overwrite: bool, resume: bool
) -> None:
    """Raise OutputError when a run folder holds a model or cannot be written. Resuming needs no permission to overwrite."""
    if (out / "model.safetensors").exists() and not (overwrite or resume):
        raise OutputError(f"{out} holds a model already; give another folder or `overwrite=True`")
    make_folder(out)
    check_outputs(list(outputs.values()), inputs, overwrite=overwrite or resume)


def _named_files(value: object) -> Iterator[Path]:
    """Yield the files that a recipe names, such as pretrained weights."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _named_files(item)
    elif isinstance(value, str) and Path(value).suffix in {".safetensors", ".pth"}:
        yield Path(value)


def _outputs(out: Path) -> dict[str, Output]:
    """Return the files that a fit ends with; those of an earlier run without a model may be replaced."""
    record = replaces_json("run", out / "record.json")

    def of_a_run(_: Path) -> bool:
        return record(out / "record.json") or (out / "stages").is_dir()

    return {
        "model": Output(out / "model.safetensors"),
        "record": Output(out / "record.json", replaces=record),
        "validation": Output(out / "validation.json", replaces=replaces_json("validation", out / "validation.json")),
        "recipe": Output(out / "recipe.yaml", replaces=of_a_run),
        "curves": Output(out / "curves.csv", replaces=of_a_run),
    }
