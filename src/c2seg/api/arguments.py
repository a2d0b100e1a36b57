"""What the public functions share: paths and legends."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from c2seg.legend import Legend, c2seg13, load_legend
from c2seg.raster import object_path

__all__ = ["FilePath", "FilePaths", "as_legend", "as_path", "as_paths", "named_files", "optional_path"]

FilePath = str | os.PathLike[str]

FilePaths = FilePath | Sequence[FilePath]
"""One path, or several."""


def as_path(path: FilePath) -> Path:
    """Return a path as a Path; of an object ``s3://bucket/key`` as GDAL has it, ``/vsis3/bucket/key``."""
    return object_path(path)


def optional_path(path: FilePath | None) -> Path | None:
    """Return a path as a Path; None stays None."""
    return None if path is None else object_path(path)


def named_files(*values: object) -> list[Path]:
    """Return the files among values that are names or files, such as recipes. A folder may have a recipe's name."""
    return [Path(value) for value in values if isinstance(value, str | os.PathLike) and Path(value).is_file()]


def as_paths(paths: FilePaths) -> tuple[Path, ...]:
    """Return one or several paths as Paths."""
    if isinstance(paths, str | os.PathLike):
        return (object_path(paths),)
    return tuple(object_path(path) for path in paths)


def as_legend(legend: Legend | FilePath | None) -> Legend:
    """Return a legend that is given as such or as a YAML file; None is C2Seg's 13 classes."""
    if legend is None:
        return c2seg13()
    return legend if isinstance(legend, Legend) else load_legend(Path(legend))
