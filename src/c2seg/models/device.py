"""Device, precision and threads that networks run with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

from c2seg.errors import InputError, unknown_name

__all__ = ["choose_device", "choose_precision", "limit_threads", "place", "threads_unchanged"]

M = TypeVar("M", bound=nn.Module)


def choose_device(name: str) -> torch.device:
    """Return the device for ``auto | cpu | cuda``; auto uses CUDA if available. InputError if ``cuda`` is not available."""
    if name not in {"auto", "cpu", "cuda"}:
        raise InputError(unknown_name("device", name, ["auto", "cpu", "cuda"]))
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("`device='cuda'`: no CUDA device is available; use `device='cpu'`")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def choose_precision(name: str, device: torch.device) -> str:
    """Return ``32 | bf16 | 16`` unchanged; for ``auto``, bf16 where the device supports it, else 32."""
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "32"
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # absent in older torch
    return "bf16" if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else "32"


def place(model: M, device: torch.device) -> M:
    """Move a network to a device with channels-last weights (convolutions on CPUs are three to five times faster)."""
    return model.to(device=device).to(memory_format=torch.channels_last)


def limit_threads(count: int) -> None:
    """Set the number of threads inside layers, for the calling thread and for threads that start later."""
    torch.set_num_threads(count)
    torch.get_num_threads()  # otherwise the first layer in a new thread uses the number that any thread set last


@contextmanager
def threads_unchanged() -> Iterator[None]:
    """Restore the number of threads inside layers after the block, for the caller and for threads that start later."""
    count = torch.get_num_threads()
    try:
        yield
    finally:
        limit_threads(count)
