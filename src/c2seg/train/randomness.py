"""The random state of torch, which all threads of a process share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["RANDOM", "randomness_unchanged"]

RANDOM = threading.Lock()
"""The lock to hold while random numbers are seeded and drawn."""


@contextmanager
def randomness_unchanged() -> Iterator[None]:
    """Restore the caller's random state after the block."""
    with RANDOM:
        before = torch.get_rng_state()
        cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        with RANDOM:
            torch.set_rng_state(before)
            torch.cuda.set_rng_state_all(cuda_states)
