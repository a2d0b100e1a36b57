"""What the result of a network's training depends on beside its identity, so that runs can have trainings in common."""

from __future__ import annotations

import hashlib
import json

import numpy as np

from c2seg.data import Normalizer
from c2seg.pipeline.prepare import Prepared
from c2seg.recipes import Recipe
from c2seg.recipes.schema import Network

__all__ = ["training_text"]

_ELSEWHERE = frozenset({"model", "training", "stages", "inputs"})
"""Fields of a recipe that the identity of a training has, or the network."""
_OF_THE_RUN = frozenset(
    {
        "name",
        "description",
        "citation",
        "prediction",
        "validation",
        "ensemble",
        "forest",
        "source_check",
        "small_source",
        "comparison",
    }
)
"""Fields that no training of a network depends on. Pseudo-labels by a forest are part of the identity."""


def training_text(recipe: Recipe, data: Prepared, network: Network) -> str:
    """Return as JSON what a training of ``network`` on ``data`` sees: bands, classes, and values after normalization."""
    inputs = {name: [repr(band) for band in data.inputs[name]] for name in network.inputs}
    normalizers = [source.normalizer for source in data.sources] + ([data.target.normalizer] if data.target else [])
    content = {
        "recipe": recipe.model_dump(mode="json", exclude={*_ELSEWHERE, *_OF_THE_RUN}),
        "inputs": inputs,
        "order": list(inputs),
        "classes": list(data.legend.names),
        "normalized": [_digest(normalizer, network.inputs) for normalizer in normalizers],
    }
    return json.dumps(content, sort_keys=True)


def _digest(normalizer: Normalizer, inputs: tuple[str, ...]) -> str:
    """Return a digest of how bands are normalized."""
    digest = hashlib.sha256()
    for part in (normalizer.shift, normalizer.factor, normalizer.projection, normalizer.knots):
        for name in inputs:
            digest.update(np.ascontiguousarray(part.get(name, np.empty(0))).data)
            digest.update(b"/")
    return digest.hexdigest()
