"""What is checked of outputs before anything is computed: names, inputs that they would replace, files that exist."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from c2seg.errors import InputError, OutputError
from c2seg.outputs.results import is_result, replaces_attributes, replaces_json, replaces_style
from c2seg.outputs.temporary import clear_leftovers

__all__ = [
    "Output",
    "attributes_output",
    "check_output",
    "check_outputs",
    "map_output",
    "raster_output",
    "record_output",
    "style_output",
]

RASTER_SUFFIXES = (".tif", ".tiff")
COMPANIONS = (".aux.xml", ".msk", ".ovr")
"""What GDAL takes for a part of the raster beside it, by its name: stale ones would change a new raster."""


@dataclass(frozen=True)
class Output:
    """A file or folder that a command writes.

    ``parameter`` names it in messages. ``suffixes`` are those that fit its content (empty: any). A side file, which the user
    did not name, has ``replaces``: True for a file that may be replaced without being asked, because c2seg wrote it for the
    same main file. ``companions`` are endings of files that would count as part of it.
    """

    path: Path
    parameter: str = "out"
    suffixes: tuple[str, ...] = ()
    replaces: Callable[[Path], bool] | None = None
    companions: tuple[str, ...] = ()
    is_folder: bool = False

    @property
    def stale(self) -> list[Path]:
        """The companions that exist."""
        return [path for path in _companions(self.path, self.companions) if os.path.lexists(path)]

    def check_absent(self) -> None:
        """Raise OutputError if it exists, or a companion does, and it may not be replaced without being asked."""
        if os.path.lexists(self.path) and not (self.replaces and self.replaces(self.path)):
            what = "exists already" + (" and is not of c2seg" if self.replaces else "")
            raise OutputError(f"{self.path} {what}; give another name or `overwrite=True`")
        for path in self.stale:
            raise OutputError(
                f"{path} exists and would count as part of {self.path}; remove it, give another name or `overwrite=True`"
            )


def raster_output(path: Path, parameter: str = "out") -> Output:
    """Return a GeoTIFF that is written."""
    return Output(path, parameter, RASTER_SUFFIXES, companions=COMPANIONS)


def map_output(path: Path) -> Output:
    """Return a map that is written together with its ``attributes_output``."""
    return Output(path, "out", RASTER_SUFFIXES, companions=tuple(end for end in COMPANIONS if end != ".aux.xml"))


def attributes_output(main: Path) -> Output:
    """Return GDAL's file of class names and attribute table beside a map. Statistics that a GIS added may be replaced."""
    return Output(main.with_name(main.name + ".aux.xml"), "attributes", replaces=replaces_attributes)


def style_output(main: Path) -> Output:
    """Return the QGIS style beside a map."""
    return Output(main.with_suffix(".qml"), "style", replaces=replaces_style)


def record_output(main: Path, kind: str) -> Output:
    """Return the JSON file of a kind of artifact beside a raster."""
    return Output(main.with_suffix(".json"), "record", replaces=replaces_json(kind, main))


def check_output(path: Path, *, overwrite: bool, suffixes: tuple[str, ...] = ()) -> None:
    """Check one output; see ``check_outputs``."""
    check_outputs([Output(path, suffixes=suffixes)], overwrite=overwrite)


def check_outputs(outputs: Sequence[Output], inputs: Iterable[Path | None] = (), *, overwrite: bool) -> None:
    """Raise what is wrong with the outputs of a command; call it before a long computation. Parent folders are created.

    ``inputs`` are all files that the command reads. Of a folder among them every file counts, however deep, except results
    of c2seg. Files are compared by device and inode, so that links and other spellings of a path count, too.

    Raises InputError if two outputs are one file, if one is an input, or if a name does not fit what is written; OutputError
    if a file exists and ``overwrite`` is False, and if a folder cannot be written.
    """
    for output in outputs:
        _check_kind(output)
        _check_name(output)
    _check_distinct(outputs)
    try:
        for parent in {output.path.parent for output in outputs}:
            clear_leftovers(parent)
        if not overwrite:
            for output in outputs:
                output.check_absent()
        _check_inputs([output for output in outputs if os.path.lexists(output.path)], list(inputs))
        for output in outputs:
            _check_place(output)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"cannot write {error.filename or outputs[0].path}: {error.strerror}") from error


def _check_name(output: Output) -> None:
    path = output.path
    if "\0" in str(path):
        raise InputError(f"`{output.parameter}`: {str(path)!r} is no file name")
    if output.suffixes and path.suffix.lower() not in output.suffixes:
        endings = ", ".join(suffix for suffix in output.suffixes if suffix)
        raise InputError(f"`{output.parameter}`: {path} does not fit what is written; the name must end in {endings}")
    try:
        os.lstat(path)
    except OSError as error:
        if error.errno in {errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR}:
            raise OutputError(f"cannot write {str(path)[:100]}: {error.strerror}") from error


def _check_distinct(outputs: Sequence[Output]) -> None:
    seen: dict[object, Output] = {}
    for output in outputs:
        for key in {str(output.path.resolve()), _identity(output.path) or str(output.path.resolve())}:
            other = seen.setdefault(key, output)
            if other is not output:
                raise InputError(
                    f"{output.path}: `{other.parameter}` and `{output.parameter}` are the same file; give different names"
                )


def _check_kind(output: Output) -> None:
    path = output.path
    if output.is_folder and os.path.lexists(path) and not os.path.isdir(path):
        raise OutputError(f"cannot write the folder {path}: it is a file; give a folder")
    if os.path.isdir(path) and not output.is_folder:
        raise OutputError(f"cannot write {path}: it is a folder; give a file name")
    if os.path.exists(path) and not (os.path.isfile(path) or output.is_folder):
        raise OutputError(f"cannot write {path}: it is no regular file")


def _check_place(output: Output) -> None:
    path = output.path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {path.parent}: {error.strerror}") from error
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write {path}: no permission to write in {path.parent}")


def _check_inputs(existing: Sequence[Output], inputs: Sequence[Path | None]) -> None:
    """Raise InputError for an output that is one of the inputs, or in place of which one would disappear."""
    if not existing:
        return
    replaced: dict[tuple[int, int] | None, tuple[Output | None, Path]] = {}
    for output in existing:
        for path in _replaced(output):
            if (key := _identity(path)) is not None:
                replaced[key] = output, path
    for given in inputs:
        for path, in_folder in _files(given):
            hit, place = replaced.get(_identity(path), (None, path))
            if hit is None or (in_folder and is_result(place)):
                continue
            raise InputError(
                f"`{hit.parameter}`: {hit.path} is one of the inputs ({given}), which are never replaced; give another "
                "name"
            )


def _replaced(output: Output) -> Iterator[Path]:
    """Yield the files that disappear when an output is written."""
    if output.is_folder:
        yield from (path for path, _ in _files(output.path))
    else:
        yield output.path
        yield from output.stale


def _files(path: Path | None) -> Iterator[tuple[Path, bool]]:
    """Yield the files of an input, and whether they were found in a folder."""
    if path is None:
        return
    if not path.is_dir():
        yield path, False
        yield from ((companion, False) for companion in _companions(path, COMPANIONS))
        return
    for folder, folders, names in os.walk(path):
        yield from ((Path(folder, name), True) for name in names)
        for name in folders:
            if os.path.islink(place := Path(folder, name)):  # not followed further, so that no loop is endless
                yield from ((item, True) for item in place.iterdir() if item.is_file())


def _companions(path: Path, endings: Iterable[str]) -> list[Path]:
    return [path.with_name(path.name + ending) for ending in endings if len(path.name) < 240]


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
