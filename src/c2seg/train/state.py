"""The saved state of a training, and what must be equal to resume from it.

A state is a ``.safetensors`` file: tensors, and all else as JSON, with a checksum over both. Those of earlier releases are read
by ``torch.load`` with ``weights_only``, which builds tensors and plain values and calls nothing else.
"""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from c2seg.artifacts import TrainedSettings, TrainingIdentity
from c2seg.artifacts.training import StateHeader
from c2seg.checksums import checksum, json_checksum
from c2seg.errors import DataError, InputError, one_line
from c2seg.outputs import atomic_file
from c2seg.recipes import Recipe, plugins_of
from c2seg.train.plain import from_plain, to_plain

__all__ = ["State", "check_same_run", "identity", "load_state", "remove_states", "save_state", "state_file"]

_log = logging.getLogger(__name__)

_FILE = "state.safetensors"
_RELEASED = "state.pt"  # up to 0.1.0


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


def state_file(folder: Path) -> Path | None:
    """Return the state in the folder of a training; None if there is none."""
    return next((folder / name for name in (_FILE, _RELEASED) if (folder / name).exists()), None)


def remove_states(folder: Path) -> None:
    """Remove the state in the folder of a training."""
    for name in (_FILE, _RELEASED):
        (folder / name).unlink(missing_ok=True)


def save_state(folder: Path, state: State) -> None:
    """Write a state atomically, in the place of an older one. Raises TrainingError if it holds more than plain values."""
    tensors: dict[str, Tensor] = {}
    text = StateHeader(step=state.step, identity=state.identity, content=to_plain(state.content, tensors)).as_line()
    with atomic_file(folder / _FILE, overwrite=True) as temporary:
        save_file(tensors, temporary, {"c2seg": text, "checksum": str(_checksum(text, tensors))})
    (folder / _RELEASED).unlink(missing_ok=True)


def load_state(path: Path) -> State:
    """Read a state of this or an earlier release. Raises DataError if it is damaged or of a newer version."""
    if not path.is_file():  # a pipe would be waited for
        raise _damaged(path, "it is no file")
    try:
        return _released_state(path) if path.name == _RELEASED else _state(path)
    except DataError:
        raise
    except Exception as error:  # what a damaged file makes others raise has no end
        reason = one_line(error)[:200]
        raise _damaged(path, f"{type(error).__name__}: {reason}") from error


def _damaged(path: Path, reason: str) -> DataError:
    return DataError(
        f"the state {path} is damaged ({reason}); remove it to train this network anew and resume the others, or start "
        "over with `overwrite=True`"
    )


def _state(path: Path) -> State:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    text = metadata["c2seg"]
    if int(metadata["checksum"]) != _checksum(text, tensors):
        raise _damaged(path, "its content is not what was saved")
    header = StateHeader.parse(json.loads(text), str(path))
    return State(header.step, header.identity, from_plain(header.content, tensors))


def _checksum(text: str, tensors: Mapping[str, Tensor]) -> int:
    """Return the checksum of a header, and of names, types, shapes and values of tensors."""
    total = checksum(text.encode())
    for name in sorted(tensors):
        value = tensors[name]
        total = json_checksum([name, str(value.dtype), list(value.shape)], total)
        total = checksum(value.reshape(-1).view(torch.uint8).numpy(), total)
    return total


def _released_state(path: Path) -> State:
    with zipfile.ZipFile(path) as archive:  # torch writes checksums and does not read them
        if damaged := archive.testzip():
            raise _damaged(path, f"its part {damaged} is not what was saved")
    values = torch.load(path, map_location="cpu", weights_only=True)
    content = values["content"] if "artifact" in values["identity"] else _renamed(values["content"])
    return State(values["step"], TrainingIdentity.parse(values["identity"], str(path)), content)


def check_same_run(saved: TrainingIdentity, now: TrainingIdentity, path: Path) -> None:
    """Raise InputError when a saved state belongs to another run: another recipe, seed, data, version or thread count.

    Another number of processes may resume it, with a warning.
    """
    if len(saved.data) < len(now.data):
        _log.warning("%s is of an earlier release: whether it was trained on the same data cannot be told", path)
        saved = saved.model_copy(update={"data": now.data})
    if saved.processes != now.processes:
        _log.warning(
            "%s was written by %d process(es), now %d: gradients are summed in another order, and batch normalization without "
            "sync_batchnorm sees other batches, so that the weights are not bit-identical to an unbroken run",
            path, saved.processes, now.processes,
        )  # fmt: skip
        saved = saved.model_copy(update={"processes": now.processes, "threads": now.threads})
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
