"""The state from which training goes on, and what must be equal for that. Never unpickles."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from c2seg.errors import DataError, InputError
from c2seg.outputs import atomic_file
from c2seg.recipes import Recipe, recipe_from_dict

__all__ = ["check_same_run", "environment", "load_state", "recipe_identity", "save_state"]

_TRAINED_FROM = {"model", "training", "background", "normalization", "max_bands"}

# Keys of a state of 0.1.0 -> today's, wherever they stand.
_RENAMED = {
    "learner": "method", "stepper": "optimizer_step", "optimiser": "optimizer", "critics": "discriminators",
    "critic": "discriminator", "critic_stepper": "discriminator_optimizer_step",
}  # fmt: skip


def recipe_identity(recipe: Recipe) -> dict[str, Any]:
    """Return what of a recipe a training depends on, as JSON texts."""
    content = recipe.model_dump(mode="json", include=_TRAINED_FROM)
    return {key: json.dumps(value, sort_keys=True) for key, value in content.items()}


def environment(device: torch.device, precision: str, processes: int) -> dict[str, Any]:
    """Return what, besides recipe, seed and data, the bits of a training depend on."""
    return {
        "torch": str(torch.__version__),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "precision": precision,
        "processes": processes,
    }


def save_state(path: Path, step: int, identity: Mapping[str, Any], content: Mapping[str, Any]) -> None:
    """Write the state after ``step`` steps, whole or not at all."""
    with atomic_file(path, overwrite=True) as temporary:
        torch.save({"step": step, "identity": dict(identity), "content": dict(content)}, temporary)


def load_state(path: Path) -> dict[str, Any]:
    """Read a state with ``weights_only``; DataError if it is damaged."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError) as error:
        raise DataError(f"the state {path} cannot be read ({error}); start afresh with --overwrite") from error
    return state if "recipe" not in state["identity"] else _upgraded(state)


def _upgraded(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state of 0.1.0 as it would be written today."""
    identity = dict(state["identity"])
    recipe = recipe_from_dict(json.loads(identity.pop("recipe")), "the state's recipe")
    return {
        "step": state["step"],
        "identity": recipe_identity(recipe) | identity,
        "content": _renamed(state["content"]),
    }


def _renamed(content: Any) -> Any:
    if isinstance(content, dict):
        return type(content)((_new_key(key), _renamed(value)) for key, value in content.items())
    return [_renamed(item) for item in content] if isinstance(content, list) else content


def check_same_run(saved: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    """Raise InputError when a saved state belongs to another run: another recipe, seed, data, version or thread count."""
    for key, value in now.items():
        if saved.get(key) != value:
            raise InputError(
                f"cannot resume from {path}: {key} was {_short(saved.get(key))}, now {_short(value)}; "
                "give the same again, or start afresh with --overwrite"
            )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) < 80 else text[:77] + "..."


def _new_key(key: Any) -> Any:
    """Return a key in today's words; the names of tensors hold several words."""
    return ".".join(_RENAMED.get(part, part) for part in key.split(".")) if isinstance(key, str) else key
