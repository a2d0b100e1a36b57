"""How long work tells of its progress: a callable that the caller gives. The library itself never prints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

__all__ = ["Bars", "Progress", "no_progress", "silent_bars"]


class Progress(Protocol):
    """Called with the work done so far, the whole work (same unit), and optionally a short text."""

    def __call__(self, done: float, total: float, text: str = "") -> None:
        """Take note."""


def no_progress(done: float, total: float, text: str = "") -> None:
    """Say nothing."""


Bars = Callable[[str], Progress]
"""Gives a progress callable for a named part of the work."""


def silent_bars(label: str) -> Progress:
    """Give parts of the work nobody to tell."""
    return no_progress
