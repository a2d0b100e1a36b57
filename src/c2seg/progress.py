"""Progress of long computations: a callable passed by the caller. The library itself never prints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Protocol

__all__ = ["Bars", "Progress", "ShowProgress", "no_progress", "opened_bars", "parts_of", "silent_bars"]


class Progress(Protocol):
    """Called with the work done so far, the total work (same unit), and optionally a short text."""

    def __call__(self, done: float, total: float, text: str = "") -> None:
        """Report the progress."""


def no_progress(done: float, total: float, text: str = "") -> None:
    """Report nothing."""


def parts_of(progress: Progress, count: int) -> Iterator[Progress]:
    """Yield the progress of each of ``count`` parts of a work, all weighted equally; each reports in units of its own."""

    def part(number: int) -> Progress:
        def show(done: float, total: float, text: str = "") -> None:
            progress(number + (done / total if total else 1.0), count, text)

        return show

    yield from map(part, range(count))


Bars = Callable[[str], Progress]
"""Returns a progress callable for a named part of the work."""

ShowProgress = bool | Bars
"""False: silent. True: bars on stderr if rich is installed. Or a callable that is given the name of a part of the work and
returns a callable ``(done, total, text="")``."""


def silent_bars(label: str) -> Progress:
    """Return ``no_progress`` for every part of the work."""
    return no_progress


@contextmanager
def opened_bars(progress: ShowProgress) -> Iterator[Bars]:
    """Give the progress bars for parts of the work, within the block."""
    if not isinstance(progress, bool):
        yield progress
    elif progress and find_spec("rich") is not None:
        yield from _rich_bars()
    else:
        yield silent_bars


def _rich_bars() -> Iterator[Bars]:
    """Give bars below each other on stderr, or in a notebook."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeElapsedColumn(),
        TimeRemainingColumn(), TextColumn("{task.fields[text]}"),
    )  # fmt: skip
    with RichProgress(*columns, console=Console(stderr=True)) as display:

        def bar(label: str) -> Progress:
            task = display.add_task(label, total=None, text="")

            def show(done: float, total: float, text: str = "") -> None:
                display.update(task, completed=done, total=total, text=text)

            return show

        yield bar
