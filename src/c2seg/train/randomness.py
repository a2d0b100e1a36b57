"""Torch's random numbers, which all threads of a process share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["RANDOM", "randomness_unchanged"]

RANDOM = threading.Lock()
"""Held while they are set and drawn."""


@contextmanager
def randomness_unchanged() -> Iterator[None]:
    """Leave the numbers that the caller draws next as they were, whatever the block sets and draws."""
    with RANDOM:
        before = torch.get_rng_state()
        cards = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        with RANDOM:
            torch.set_rng_state(before)
            torch.cuda.set_rng_state_all(cards)
