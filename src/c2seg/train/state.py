"""The state from which training goes on, and what must be equal for that. Never unpickles."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from c2seg.errors import DataError, InputError
from c2seg.outputs import atomic_file

__all__ = ["check_same_run", "environment", "load_state", "save_state"]


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
        raise DataError(f"the state {path} cannot be read ({error}); start afresh with `overwrite=True`") from error
    return state


def check_same_run(saved: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    """Raise InputError when a saved state belongs to another run: another recipe, seed, data, version or thread count."""
    for key, value in now.items():
        if saved.get(key) != value:
            raise InputError(
                f"cannot resume from {path}: {key} was {_short(saved.get(key))}, now {_short(value)}; "
                "give the same again, or start afresh with `overwrite=True`"
            )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) < 80 else text[:77] + "..."
