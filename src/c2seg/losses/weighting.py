"""Class weights from pixel counts."""

from __future__ import annotations

import numpy as np

from c2seg.recipes.training import Loss

__all__ = ["class_weights"]


def class_weights(kind: str, counts: np.ndarray) -> np.ndarray | None:
    """Return float32 [K] weights with mean 1 over the classes that are present (``counts`` > 0), 0 for the others.

    ``inverse``: 1 / count; ``none``: None.
    """
    if kind == Loss.model_fields["class_weights"].default:
        return None
    present = counts > 0
    weights = np.where(present, np.maximum(counts, 1).astype(np.float64) ** -1.0, 0.0)
    return np.asarray(weights / weights[present].mean(), np.float32)
