"""Where a result comes from: versions, commit, seed, device, the command that repeats it."""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath
from typing import Self

from c2seg._version import __version__
from c2seg.raster import is_object
from c2seg.records import Record

__all__ = ["Provenance", "base_names", "provenance", "relative_path"]

_ABSOLUTE = re.compile(r"(^|[=:,])(/[^=:,]+)")

_PACKAGES = ("numpy", "scipy", "scikit-learn", "rasterio", "torch", "timm", "segmentation-models-pytorch")


class Provenance(Record):
    """What a result depends on beyond its data and recipe."""

    c2seg: str
    """Version of this package."""
    commit: str | None
    """Of the checkout it ran from, with ``+changes`` if it differed; None: installed."""
    python: str
    machine: str
    packages: dict[str, str]
    """Versions by name."""
    seed: int
    device: str
    command: str = ""
    """The command line, quoted for a shell; empty when called from Python."""

    def without_folders(self) -> Self:
        """Return it with base names in place of absolute paths in the command, for files that are passed on."""
        return self.model_copy(update={"command": shlex.join(map(base_names, _words(self.command)))})


def base_names(text: str) -> str:
    """Return a text with base names in place of absolute paths, also after ``=``, ``:`` and commas."""
    return _ABSOLUTE.sub(lambda match: match[1] + PurePath(match[2]).name, text)


def relative_path(path: Path, beside: Path) -> str:
    """Return a path as seen from the folder of a file that names it; one in object storage as it is."""
    return str(path) if is_object(path) else os.path.relpath(path.resolve(), beside.parent.resolve())


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:  # of a file that others wrote
        return command.split()


def provenance(*, seed: int, device: str, command: Sequence[str]) -> Provenance:
    """Return what the results of this process depend on beyond data and recipe."""
    return Provenance(
        c2seg=__version__,
        commit=_commit(),
        python=platform.python_version(),
        machine=platform.machine(),
        packages={name: installed for name in _PACKAGES if (installed := _installed(name))},
        seed=seed,
        device=device,
        command=shlex.join(command),
    )


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


@cache
def _commit() -> str | None:
    """Return the commit of the checkout this package runs from, with ``+changes`` if it differs; None if installed."""
    folder = Path(__file__).resolve().parents[3]
    if not (folder / ".git").exists():
        return None
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, timeout=10)
        state = subprocess.run(
            ["git", "status", "--porcelain", "--", "src"], cwd=folder, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if head.returncode:
        return None
    return head.stdout.strip() + ("+changes" if state.stdout.strip() else "")
