"""How long work tells of its progress: a callable that the caller gives. The library itself never prints."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Progress", "no_progress"]


class Progress(Protocol):
    """Called with the work done so far, the whole work (same unit), and optionally a short text."""

    def __call__(self, done: float, total: float, text: str = "") -> None:
        """Take note."""


def no_progress(done: float, total: float, text: str = "") -> None:
    """Say nothing."""
