"""Fit a forest: folds first, then all pixels."""

from __future__ import annotations

import numpy as np

from c2seg.forest.features import FeatureSpec
from c2seg.forest.fit import Source, feature_spec, fit_forest, validate_forest
from c2seg.metrics import Confusion
from c2seg.pipeline.prepare import FitJob, scene_folds
from c2seg.recipes.models import ForestModel

__all__ = ["fit_forest_model", "forest_tensors"]


def fit_forest_model(job: FitJob, model: ForestModel) -> tuple[dict[str, np.ndarray], Confusion | None]:
    """Return the tensors of the model file (none without a final forest) and the pooled confusion over the folds (None
    without validation)."""
    pooled = None
    if job.recipe.validation.count:
        names, sources, spec = _begin(job, model)
        pooled = validate_forest(sources, names, model, spec, job.seed, job.bars("validation"))
    return forest_tensors(job, model) if job.recipe.validation.final else {}, pooled


def forest_tensors(job: FitJob, model: ForestModel, held_out: int | None = None) -> dict[str, np.ndarray]:
    """Return the tensors of a forest learnt without the pixels of and near fold ``held_out`` (None: from all)."""
    names, sources, spec = _begin(job, model)
    forest = fit_forest(sources, names, model, spec, job.seed, held_out=held_out, progress=job.bars("forest"))
    return forest.tensors() | {f"projection.{name}": value for name, value in spec.projections.items()}


def _begin(job: FitJob, model: ForestModel) -> tuple[tuple[str, ...], list[Source], FeatureSpec]:
    names = tuple(job.prepared.inputs)
    folds = job.recipe.validation.count
    sources = [
        Source(city, normalizer, scene_folds(job.recipe, city) if folds else ())
        for city, normalizer in zip(job.prepared.sources, job.prepared.normalizers, strict=True)
    ]
    return names, sources, feature_spec(sources, names, model)
