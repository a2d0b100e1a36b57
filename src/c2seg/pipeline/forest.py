"""Fit a forest: folds first, then all pixels."""

from __future__ import annotations

import numpy as np

from c2seg.forest.fit import feature_spec, fit_forest, validate_forest
from c2seg.metrics import Confusion
from c2seg.pipeline.prepare import FitJob, Prepared
from c2seg.recipes.models import ForestModel

__all__ = ["fit_forest_model", "forest_tensors"]


def fit_forest_model(job: FitJob, model: ForestModel) -> tuple[dict[str, np.ndarray], Confusion | None]:
    """Return the tensors of the model file (none without a final forest) and the pooled confusion over the folds (None
    without validation)."""
    pooled = None
    if job.recipe.validation.count:
        sources = job.prepared.with_folds(job.recipe.validation).sources
        names = job.prepared.modalities
        spec = feature_spec(sources, names, model)
        pooled = validate_forest(sources, names, model, spec, job.seed, job.bars("validation"))
    return forest_tensors(job, job.prepared, model) if job.recipe.validation.final else {}, pooled


def forest_tensors(job: FitJob, prepared: Prepared, model: ForestModel) -> dict[str, np.ndarray]:
    """Return the tensors of a forest trained on the sources, without the labels that they hold out."""
    sources, names = prepared.sources, prepared.modalities
    spec = feature_spec(sources, names, model)
    forest = fit_forest(sources, names, model, spec, job.seed, progress=job.bars("forest"))
    return forest.tensors() | {f"projection.{name}": value for name, value in spec.projections.items()}
