"""Exceptions of c2seg. All errors that a user can cause derive from C2SegError. The command line prints them in one line.

Each class also inherits the matching builtin, so that both kinds of ``except`` work. A message states what was
attempted, what was found, what was expected and how to fix it. It names the file, band, window or parameter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

__all__ = [
    "C2SegError",
    "DataError",
    "GridError",
    "InputError",
    "MissingExtraError",
    "ModelFileError",
    "OutputError",
    "PluginError",
    "RecipeError",
    "TrainingError",
    "install_command",
    "needs_extra",
    "number_ranges",
    "one_line",
    "unknown_name",
]


class C2SegError(Exception):
    """Base class of all errors caused by the user's input. The command line prints it in one line and exits with 2."""


class InputError(C2SegError, ValueError):
    """A parameter has an invalid value."""


class DataError(C2SegError, ValueError):
    """A data file or folder is missing, damaged, or inconsistent with another one."""


class GridError(DataError):
    """Two rasters do not have aligned grids (CRS, origin, resolution, overlap)."""


class RecipeError(InputError):
    """A recipe is unknown, or it has an invalid key or value."""


class ModelFileError(DataError):
    """A model file is damaged, or does not match the data it is applied to."""


class PluginError(C2SegError, ImportError):
    """A plug-in of another package is missing or broken. The message names the package and its version."""


class OutputError(C2SegError, OSError):
    """An output exists already, or cannot be written."""


class MissingExtraError(C2SegError, ImportError):
    """A feature needs an optional dependency that is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs packages that are not installed: {install_command(extra)}")
        self.extra = extra


def install_command(extra: str) -> str:
    """Return what installs an extra, in words: the one place that says it.

    The name of the package is on no index yet. A checkout is what everybody has who has this package.
    """
    return f"in a checkout of c2seg, pip install '.[{extra}]'"


@contextmanager
def needs_extra(feature: str, extra: str) -> Iterator[None]:
    """Convert a failed import of an optional dependency inside the block to MissingExtraError."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "c2seg":
            raise
        raise MissingExtraError(feature, extra) from error


class TrainingError(C2SegError, RuntimeError):
    """Training cannot continue: the loss is not finite, or the data contain nothing to train on."""


def unknown_name(kind: str, name: str, valid: object) -> str:
    """Return the message for an unknown name. It lists the valid names and suggests the closest one."""
    import difflib

    names = sorted(str(item) for item in valid)  # type: ignore[attr-defined]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {name!r}.{hint} Valid: {', '.join(names) or 'none'}."


def number_ranges(numbers: Iterable[int]) -> str:
    """Format 1, 2, 3, 7 as "1-3, 7"."""
    groups: list[list[int]] = []
    for number in numbers:
        if groups and number == groups[-1][1] + 1:
            groups[-1][1] = number
        else:
            groups.append([number, number])
    return ", ".join(f"{a}-{b}" if a != b else f"{a}" for a, b in groups)


def one_line(error: object) -> str:
    """Return a text, such as the message of another library, without line breaks."""
    return " ".join(str(error).split())
