"""Learn a model from labelled cities, and optionally an unlabelled target; leave a run folder that explains itself.

A run folder holds ``model.safetensors``, ``recipe.yaml`` (resolved), ``record.json`` (provenance), for networks
``curves.csv`` and the state to resume from, and with validation ``validation.json`` (pooled confusion and scores).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from c2seg.api.record import provenance
from c2seg.data import BandStatistics, BlockFolds, City, LabelledCity, Normaliser, city_statistics, open_city
from c2seg.data.layouts import open_labelled_city
from c2seg.errors import DataError, InputError, OutputError
from c2seg.forest.features import FeatureSpec, fit_projections
from c2seg.forest.fit import Source, fit_forest, validate_forest
from c2seg.metrics import Confusion, scores
from c2seg.modelfile import BandSpec, Header, input_bands, save_model
from c2seg.outputs import write_json, write_text
from c2seg.progress import Progress, no_progress
from c2seg.recipes import Recipe
from c2seg.recipes.schema import ForestModel

__all__ = ["FitResult", "fit"]

Bars = Callable[[str], Progress]


def _silent(_label: str) -> Progress:
    return no_progress


@dataclass(frozen=True)
class FitResult:
    """Where the model is, the scores on the source's folds (None without validation), and the seconds it took."""

    model: Path
    validation: dict[str, Any] | None
    seconds: float


@dataclass(frozen=True)
class Prepared:
    """What every kind of model learns from. The target is a City: it has no label, by type."""

    sources: tuple[LabelledCity, ...]
    target: City | None
    inputs: dict[str, tuple[BandSpec, ...]]
    statistics: dict[str, BandStatistics]
    normalisers: tuple[Normaliser, ...]
    """One per source."""
    target_normaliser: Normaliser | None


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
    bars: Bars = _silent,
    command: Sequence[str] = (),
) -> FitResult:
    """Learn ``recipe`` from the source cities and write the run folder ``out``.

    Only images of ``target`` are opened. Raises C2SegError subclasses for wrong input; nothing is left half written.
    """
    started = time.perf_counter()
    check_run_folder(out, overwrite=overwrite, resume=resume)
    prepared = prepare(recipe, sources, target, bars("statistics"))
    record = provenance(seed=seed, device=device, command=command) | {
        "recipe": recipe.name,
        "sources": [
            {"name": c.images.name, "images": c.images.fingerprint(), "labels": c.label_fingerprint()}
            for c in prepared.sources
        ],
        "target": {"name": prepared.target.name, "images": prepared.target.fingerprint()} if prepared.target else None,
        "normalisation_uses_target": recipe.normalisation in {"per_city", "minmax"},
    }
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "recipe.yaml", yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))
    header = Header(
        recipe=recipe,
        inputs=prepared.inputs,
        statistics={name: s.as_dict() for name, s in prepared.statistics.items()},
        legend=prepared.sources[0].images.legend.as_dict(),
        provenance=record,
    )
    assert isinstance(recipe.model, ForestModel)
    tensors, pooled = _forest(recipe, recipe.model, prepared, seed, bars)
    model = out / "model.safetensors"
    save_model(model, header, tensors)
    validation = None
    if pooled is not None:
        validation = {
            "kind": f"{recipe.validation.folds} interleaved guarded block folds over the sources, pooled",
            "scores": scores(pooled).as_dict(),
            "counts": pooled.counts.tolist(),
            "ids": list(pooled.ids),
        }
        write_json(out / "validation.json", validation)
    seconds = time.perf_counter() - started
    write_json(out / "record.json", record | {"seconds": round(seconds, 3)})
    return FitResult(model, validation, seconds)


def check_run_folder(out: Path, *, overwrite: bool, resume: bool) -> None:
    """Raise OutputError when a run folder is taken or cannot be written. Resuming needs no permission to overwrite."""
    if out.exists() and not out.is_dir():
        raise OutputError(f"cannot write the run folder {out}: it is a file; give a folder")
    if (out / "model.safetensors").exists() and not (overwrite or resume):
        raise OutputError(f"{out} holds a model already; give another folder or --overwrite")
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"cannot write in the run folder {out}: {error.strerror}") from error


def prepare(recipe: Recipe, sources: Sequence[Path], target: Path | None, progress: Progress) -> Prepared:
    """Open the cities, check that they agree, and fit the normalisation."""
    if not sources:
        raise InputError("no source city; give at least one --source")
    cities = tuple(open_labelled_city(path) for path in sources)
    for city in cities:
        city.check_classes()
        if city.images.legend.ids != cities[0].images.legend.ids:
            raise DataError(f"{city.images.name} and {cities[0].images.name} have different legends")
    goal = open_city(target) if target is not None else None
    inputs = input_bands(cities[0].images, recipe)
    if recipe.inputs == "all":
        # What every city has: a modality that the target lacks cannot be used to map it.
        others = [c.images for c in cities[1:]] + ([goal] if goal else [])
        inputs = {n: b for n, b in inputs.items() if all(n in other.modality_names for other in others)}
        if not inputs:
            raise DataError("the cities have no modality in common; see c2seg inspect")
    for other in [c.images for c in cities] + ([goal] if goal else []):
        counts = other.band_counts(tuple(inputs))
        for name, bands in inputs.items():
            if counts[name] != len(bands):
                raise DataError(
                    f"city {other.name!r} has {counts[name]} {name} bands, {cities[0].images.name!r} has {len(bands)}; "
                    "keep the same bands with `keep:` in city.yaml"
                )
    names = tuple(inputs)
    each = [city_statistics(city.images, names, progress) for city in cities]
    pooled = dict(each[0])
    for other_statistics in each[1:]:
        pooled = {name: pooled[name].merge(other_statistics[name]) for name in names}
    own = recipe.normalisation in {"per_city", "minmax"}
    kind = recipe.normalisation
    normalisers = tuple(Normaliser.fit(kind, statistics if own else pooled) for statistics in each)
    goal_normaliser = None
    if goal is not None:
        goal_normaliser = Normaliser.fit(kind, city_statistics(goal, names, progress) if own else pooled)
    return Prepared(cities, goal, inputs, pooled, normalisers, goal_normaliser)


def scene_folds(recipe: Recipe, city: LabelledCity) -> tuple[BlockFolds, ...]:
    """Return the validation folds of each scene of a city."""
    settings = recipe.validation
    folds = []
    for scene in city.images.scenes:
        side = settings.block_px or max(2 * settings.guard_px, min(scene.grid.height, scene.grid.width) // 6, 8)
        folds.append(BlockFolds(settings.folds, side, settings.guard_px))
    return tuple(folds)


def _forest(
    recipe: Recipe, model: ForestModel, prepared: Prepared, seed: int, bars: Bars
) -> tuple[dict[str, np.ndarray], Confusion | None]:
    names = tuple(prepared.inputs)
    folds = recipe.validation.folds
    sources = [
        Source(city, normaliser, scene_folds(recipe, city) if folds else ())
        for city, normaliser in zip(prepared.sources, prepared.normalisers, strict=True)
    ]
    projections = fit_projections([(s.city.images, s.normaliser) for s in sources], names, model)
    spec = FeatureSpec(model.mean_px, model.std_px, projections)
    pooled = validate_forest(sources, names, model, spec, seed, bars("validation")) if folds else None
    forest = fit_forest(sources, names, model, spec, seed, progress=bars("forest"))
    tensors = forest.tensors() | {f"projection.{name}": value for name, value in projections.items()}
    return tensors, pooled
