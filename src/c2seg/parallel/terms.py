"""What a caller may ask for tasks that take long, wait for each other, or fail alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from c2seg.errors import C2SegError

__all__ = ["Terms"]


@dataclass(frozen=True)
class Terms:
    """How the tasks of a run are treated, by their indexes.

    ``begin`` is what a task takes more, in tasks, whose worker did not compute the one before it: neighbors share work.
    ``after`` names the tasks that must be over before one begins (smaller indexes), whether they failed or not; tasks are then
    given in the order of their indexes. ``issued`` returns a task as it is sent: made anew for each try. ``sign`` returns what
    changes as long as somebody works at a task, for tasks that take longer than any deadline. ``failed`` is called with the
    error of a task, which then stops no other.
    """

    begin: int = 0
    after: Mapping[int, Sequence[int]] | None = None
    issued: Callable[[int], Any] | None = None
    sign: Callable[[int], object] | None = None
    failed: Callable[[int, C2SegError], None] | None = None
