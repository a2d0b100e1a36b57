"""The tensors of a run's model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from c2seg.artifacts import read_model_file

__all__ = ["tensors"]


def tensors(run: Path) -> dict[str, np.ndarray]:
    """Return the tensors of a run's model, by their names in the network where there is one alone."""
    whole = dict(read_model_file(run / "model.safetensors").tensors)
    prefixes = {".".join(name.split(".")[:3]) + "." for name in whole if name.startswith("networks.")}
    return {name.removeprefix(*prefixes): value for name, value in whole.items()} if len(prefixes) == 1 else whole
