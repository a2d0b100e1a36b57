"""Progress of long computations: a callable passed by the caller. The library itself never prints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

__all__ = ["Bars", "Progress", "no_progress", "silent_bars"]


class Progress(Protocol):
    """Called with the work done so far, the total work (same unit), and optionally a short text."""

    def __call__(self, done: float, total: float, text: str = "") -> None:
        """Report the progress."""


def no_progress(done: float, total: float, text: str = "") -> None:
    """Report nothing."""


Bars = Callable[[str], Progress]
"""Returns a progress callable for a named part of the work."""


def silent_bars(label: str) -> Progress:
    """Return ``no_progress`` for every part of the work."""
    return no_progress
