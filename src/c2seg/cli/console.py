"""What commands print: results to stdout, progress and notes to stderr. ``--quiet`` silences the latter."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from c2seg.cli.options import with_options
from c2seg.documents import json_text
from c2seg.errors import DataError, InputError
from c2seg.progress import Bars, Progress, silent_bars

__all__ = [
    "CLUSTER_HELP",
    "JSON",
    "OVERWRITE",
    "QUIET",
    "SEED",
    "named_values",
    "note",
    "notes_on_stderr",
    "print_json",
    "progress_bar",
    "progress_bars",
    "raise_for_cities",
    "tile_sides",
]

OVERWRITE = typer.Option(False, "--overwrite", help="Replace existing outputs.")
QUIET = typer.Option(False, "--quiet", "-q", help="No progress, no notes.")
CLUSTER_HELP = "A Dask cluster in place of --workers: tcp://HOST:PORT of its scheduler, local:N, or a YAML file."
SEED = typer.Option(0, "--seed", min=0, help="Seed of everything random.")
JSON = typer.Option(False, "--json", help="Print one JSON object on stdout and nothing else.")


def raise_for_cities(failed: Mapping[str, str], succeeded: int, lacks: str, table: Path) -> None:
    """Raise DataError if some cities of a list failed, with the first of them; ``lacks``: what these have not."""
    if not failed:
        return
    name, error = next(iter(failed.items()))
    raise DataError(f"{len(failed)} of {len(failed) + succeeded} cities have {lacks}: {name}: {error}; see {table}")


def named_values(option: str, values: Sequence[str]) -> dict[str, str]:
    """Return the values of ``NAME=VALUE`` texts by name. Raises InputError for another form, and for a name given twice."""
    named: dict[str, str] = {}
    for value in values:
        name, equals, rest = value.partition("=")
        if not (name and equals and rest):
            raise InputError(f"{option} {value!r}: give NAME=PATH")
        if name in named:
            raise InputError(f"{option}: {name!r} is given twice")
        named[name] = rest
    return named


def tile_sides(values: Sequence[str], names: Sequence[str]) -> dict[str, int]:
    """Return the side of tiles by data set from ``--tile-px`` texts: ``N`` sets all, ``NAME=N`` one. Raises InputError."""
    sides = dict.fromkeys(names, 128)
    for value in sorted(values, key=lambda v: "=" in v):
        name, _, number = value.rpartition("=")
        if not number.isdecimal() or (name and name not in sides):
            raise InputError(f"--tile-px {value!r}: give pixels, or NAME=pixels with one of {', '.join(names)}")
        sides |= dict.fromkeys([name] if name else names, int(number))
    return sides


def note(text: str, *, quiet: bool = False) -> None:
    """Print a line to stderr unless quiet."""
    if not quiet:
        typer.echo(with_options(text), err=True)


@contextmanager
def notes_on_stderr(name: str, *, quiet: bool = False) -> Iterator[None]:
    """Print the messages of the logger of that name, one a line, within the block; nothing if quiet."""
    logger, handler = logging.getLogger(name), _Notes(logging.CRITICAL + 1 if quiet else logging.INFO)
    level, propagates = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagates


class _Notes(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        note(record.getMessage())


def print_json(content: Any) -> None:
    """Print one JSON object on stdout. Undefined values are None; infinite ones and NaN are texts."""
    typer.echo(json_text(content))


@contextmanager
def progress_bars(*, quiet: bool = False) -> Iterator[Bars]:
    """Give what shows a bar on stderr for each part of the work; without a terminal, a line every tenth of it."""
    if quiet:
        yield silent_bars
    elif sys.stderr.isatty():
        from c2seg.progress import opened_bars

        with opened_bars(True) as bars:
            yield bars
    else:
        yield _plain_bar


@contextmanager
def progress_bar(label: str, *, quiet: bool = False) -> Iterator[Progress]:
    """Show one bar."""
    with progress_bars(quiet=quiet) as bars:
        yield bars(label)


def _plain_bar(label: str) -> Progress:
    shown = -1

    def show(done: float, total: float, text: str = "") -> None:
        nonlocal shown
        tenth = int(10 * done / total) if total else 10
        if tenth > shown:
            shown = tenth
            note(f"{label}: {10 * tenth} %" + (f"  {text}" if text else ""))

    return show
