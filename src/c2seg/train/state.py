"""The saved state of a training, and what must be equal to resume from it. Reading never unpickles."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel

from c2seg.artifacts import TrainedSettings, TrainingIdentity
from c2seg.errors import DataError, InputError
from c2seg.outputs import atomic_file
from c2seg.recipes import Recipe, plugins_of

__all__ = ["State", "check_same_run", "identity", "load_state", "save_state"]


# Keys of a state of 0.1.0 -> present keys, at any depth.
_RENAMED = {
    "learner": "method", "stepper": "optimizer_step", "optimiser": "optimizer", "critics": "discriminators",
    "critic": "discriminator", "critic_stepper": "discriminator_optimizer_step",
}  # fmt: skip


def identity(
    recipe: Recipe, seed: int, data: str, start: str, device: torch.device, precision: str, processes: int
) -> TrainingIdentity:
    """Return everything that the result of a training in this process depends on; see ``TrainingIdentity``."""
    return TrainingIdentity(
        settings=TrainedSettings.of(recipe),
        plugins=", ".join(map(str, plugins_of(recipe))),
        seed=seed,
        data=data,
        start=start,
        torch=str(torch.__version__),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        threads=torch.get_num_threads(),
        precision=precision,
        processes=processes,
    )


@dataclass(frozen=True)
class State:
    """A training after ``step`` steps. ``content`` has tensors and plain values, grouped by component."""

    step: int
    identity: TrainingIdentity
    content: dict[str, Any]


def save_state(path: Path, state: State) -> None:
    """Write a state atomically."""
    values = {"step": state.step, "identity": state.identity.as_json(), "content": state.content}
    with atomic_file(path, overwrite=True) as temporary:
        torch.save(values, temporary)


def load_state(path: Path) -> State:
    """Read a state with ``weights_only``. Raises DataError if it is damaged or of a newer version."""
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
        content = values["content"] if "artifact" in values["identity"] else _renamed(values["content"])
        return State(values["step"], TrainingIdentity.parse(values["identity"], str(path)), content)
    except DataError:
        raise
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"the state {path} cannot be read ({error}); start over with `overwrite=True`") from error


def check_same_run(saved: TrainingIdentity, now: TrainingIdentity, path: Path) -> None:
    """Raise InputError when a saved state belongs to another run: another recipe, seed, data, version or thread count."""
    if difference := _first_difference(saved, now):
        name, before, value = difference
        raise InputError(
            f"cannot resume from {path}: {name} was {_short(before)}, now {_short(value)}; "
            "use the same value, or start over with `overwrite=True`"
        )


def _first_difference(saved: BaseModel, now: BaseModel) -> tuple[str, Any, Any] | None:
    """Return the dotted name and both values of the first field that differs, inside nested settings of one class too."""
    for name, value in now:
        before = getattr(saved, name)
        if before == value:
            continue
        if isinstance(value, BaseModel) and type(before) is type(value) and (inner := _first_difference(before, value)):
            return f"{name}.{inner[0]}", inner[1], inner[2]
        return name, before, value
    return None


def _renamed(content: Any) -> Any:
    """Return the content of a state of 0.1.0 under the present keys."""
    if isinstance(content, dict):
        return type(content)((_new_key(key), _renamed(value)) for key, value in content.items())
    return [_renamed(item) for item in content] if isinstance(content, list) else content


def _new_key(key: Any) -> Any:
    """Return the present key; names of tensors have several parts."""
    return ".".join(_RENAMED.get(part, part) for part in key.split(".")) if isinstance(key, str) else key


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) < 80 else text[:77] + "..."
