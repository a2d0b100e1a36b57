"""The tensors of a run's model and of its states."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from c2seg.artifacts import read_model_file

__all__ = ["saved_weights", "tensors"]


def tensors(run: Path) -> dict[str, np.ndarray]:
    """Return the tensors of a run's model, by their names in the network where there is one alone."""
    whole = dict(read_model_file(run / "model.safetensors").tensors)
    prefixes = {".".join(name.split(".")[:3]) + "." for name in whole if name.startswith("networks.")}
    return {name.removeprefix(*prefixes): value for name, value in whole.items()} if len(prefixes) == 1 else whole


def saved_weights(folder):
    """Return the weights of the network in the state of a training, by tensor name."""
    from c2seg.train.state import load_state, state_file

    return {name: value.numpy() for name, value in load_state(state_file(folder)).content["method"]["model"].items()}
