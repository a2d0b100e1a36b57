"""Where networks run."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from c2seg.errors import InputError, unknown_name

__all__ = ["choose_device", "place"]

M = TypeVar("M", bound=nn.Module)


def choose_device(name: str) -> torch.device:
    """Return the device of ``auto | cpu | cuda``; auto takes CUDA where there is one. InputError if it is missing."""
    if name not in {"auto", "cpu", "cuda"}:
        raise InputError(unknown_name("device", name, ["auto", "cpu", "cuda"]))
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: no CUDA device is available; use --device cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def place(model: M, device: torch.device) -> M:
    """Move a network to a device, its weights channels last (three to five times faster convolutions on CPUs)."""
    return model.to(device=device).to(memory_format=torch.channels_last)
