"""What a fit gives, of a forest and of networks alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from c2seg.artifacts import TrainingFacts
from c2seg.metrics import Confusion
from c2seg.metrics.reliability import Reliability

if TYPE_CHECKING:
    from c2seg.pipeline.offline import OfflineFit
    from c2seg.pipeline.source_check import CheckedRecipe

__all__ = ["Fitted"]


@dataclass(frozen=True)
class Fitted:
    """Tensors, facts and scores of a training."""

    tensors: dict[str, np.ndarray]
    """Of the model file; empty without a final training, but of the training tiles of a random split."""
    facts: TrainingFacts
    validation: Confusion | None = None
    """Pooled over the folds; None without validation."""
    checked: CheckedRecipe | None = None
    """The recipe after the source check; None without one."""
    reliability: Reliability | None = None
    """How often the probabilities of the folds were right."""
    curves: str = ""
    """Of the last trainings, as CSV."""
    labeled: CheckedRecipe | None = None
    """The recipe after held-out labels of the target decided on its networks; None: there were too few, or none."""
    offline: OfflineFit | None = None
    """Of a random split of overlapping tiles; None: guarded folds, or none."""
    notes: tuple[str, ...] = ()
    """For people."""
