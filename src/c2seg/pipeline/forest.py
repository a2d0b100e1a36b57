"""Fit a forest: folds first, then all pixels."""

from __future__ import annotations

import numpy as np

from c2seg.forest.fit import train_forest
from c2seg.metrics import Confusion
from c2seg.pipeline.prepare import FitJob
from c2seg.recipes.models import ForestModel

__all__ = ["fit_forest_model", "forest_tensors"]


def fit_forest_model(job: FitJob, model: ForestModel) -> tuple[dict[str, np.ndarray], Confusion | None]:
    """Return the tensors of the model file (none without a final forest) and the pooled confusion over the folds (None
    without validation)."""
    settings, prepared = job.recipe.validation, job.prepared
    return train_forest(
        prepared.sources if settings.final else (),
        prepared.with_folds(settings).sources if settings.count else (),
        prepared.modalities,
        model,
        job.seed,
        job.bars,
    )


def forest_tensors(job: FitJob, model: ForestModel) -> dict[str, np.ndarray]:
    """Return the tensors of a forest trained on the job's sources, without the labels that they hold out."""
    return train_forest(job.prepared.sources, (), job.prepared.modalities, model, job.seed, job.bars)[0]
