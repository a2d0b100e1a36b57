"""What the public functions share: paths, legends, and how work reports its progress."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from c2seg.legend import Legend, c2seg13, load_legend
from c2seg.progress import Bars, Progress, silent_bars

__all__ = ["FilePath", "FilePaths", "ShowProgress", "as_legend", "as_path", "as_paths", "opened_bars", "optional_path"]

FilePath = str | os.PathLike[str]

FilePaths = FilePath | Sequence[FilePath]
"""One path, or several."""

ShowProgress = bool | Bars
"""False: silent. True: bars on stderr if rich is installed. Or a callable that is given the name of a part of the work and
returns a callable ``(done, total, text="")``."""


def as_path(path: FilePath) -> Path:
    """Return a path as a Path."""
    return Path(path)


def optional_path(path: FilePath | None) -> Path | None:
    """Return a path as a Path; None stays None."""
    return None if path is None else Path(path)


def as_paths(paths: FilePaths) -> tuple[Path, ...]:
    """Return one or several paths as Paths."""
    if isinstance(paths, str | os.PathLike):
        return (Path(paths),)
    return tuple(Path(path) for path in paths)


def as_legend(legend: Legend | FilePath | None) -> Legend:
    """Return a legend that is given as such or as a YAML file; None is C2Seg's 13 classes."""
    if legend is None:
        return c2seg13()
    return legend if isinstance(legend, Legend) else load_legend(Path(legend))


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
