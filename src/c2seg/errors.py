"""Exceptions of c2seg. Every error that a user can cause derives from C2SegError and is shown as one line, exit code 2.

Each class also inherits the matching builtin, so that both kinds of ``except`` work. A message says what was
attempted, what was found, what was expected and what to do, and names the file, band, window or option.
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
    "needs_extra",
    "number_ranges",
    "unknown_name",
]


class C2SegError(Exception):
    """Root of all errors caused by the user's input; the command line prints it as one line and exits with 2."""


class InputError(C2SegError, ValueError):
    """An option or argument has a value that cannot be used."""


class DataError(C2SegError, ValueError):
    """A file or folder of data is missing, damaged, or contradicts another one."""


class GridError(DataError):
    """Two rasters do not lie on compatible grids (CRS, origin, resolution, overlap)."""


class RecipeError(InputError):
    """A recipe is unknown or a key or value in it is wrong."""


class ModelFileError(DataError):
    """A model file is damaged, or does not fit the data it is applied to."""


class PluginError(C2SegError, ImportError):
    """What another package adds is missing or broken; the message names the package and its version."""


class OutputError(C2SegError, OSError):
    """An output exists already, or its place cannot be written."""


class MissingExtraError(C2SegError, ImportError):
    """A command needs an optional dependency that is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs packages that are not installed: pip install 'c2seg[{extra}]'")
        self.extra = extra


@contextmanager
def needs_extra(feature: str, extra: str) -> Iterator[None]:
    """Turn a failing import of an optional dependency inside the block into MissingExtraError."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "c2seg":
            raise
        raise MissingExtraError(feature, extra) from error


class TrainingError(C2SegError, RuntimeError):
    """Training cannot go on: a loss that is not finite, or data from which nothing can be learnt."""


def unknown_name(kind: str, name: str, valid: object) -> str:
    """Return the message for an unknown name, with the valid ones listed and the nearest one proposed."""
    import difflib

    names = sorted(str(item) for item in valid)  # type: ignore[attr-defined]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {name!r}.{hint} Valid: {', '.join(names) or 'none'}."


def number_ranges(numbers: Iterable[int]) -> str:
    """Write 1, 2, 3, 7 as "1-3, 7"."""
    groups: list[list[int]] = []
    for number in numbers:
        if groups and number == groups[-1][1] + 1:
            groups[-1][1] = number
        else:
            groups.append([number, number])
    return ", ".join(f"{a}-{b}" if a != b else f"{a}" for a, b in groups)
