"""Files that are written whole or not at all by any process, on a disk or in object storage, and known by a mark.

A mark tells a file's content: size and CRC-32 on a disk, size and the storage's own tag in object storage.
"""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from c2seg.checksums import checksum
from c2seg.errors import OutputError
from c2seg.outputs import fsync_path
from c2seg.raster.objects import (
    is_object,
    object_folders,
    object_marks,
    object_names,
    object_text,
    put_object,
    remove_objects,
)

__all__ = ["put_whole", "remove_stored", "stored_folders", "stored_marks", "stored_text", "sync_stored"]

_UNFINISHED = ".part-"
_MOST_TEXT_BYTES = 4096


def put_whole(path: Path, data: bytes) -> str:
    """Write a file, over what is there; return its mark. Its folder is made.

    A process that is killed meanwhile leaves the older file, or none. A machine that goes down may lose it: marks tell, and
    ``sync_stored`` makes sure. Raises OutputError.
    """
    if is_object(path):
        return put_object(path, data)
    unfinished = path.with_name(f"{_UNFINISHED}{path.name}.{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with unfinished.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror}; what is finished is kept: make room and run the same command to resume"
        ) from error
    return _mark(data)


def sync_stored(folder: Path) -> None:
    """Flush the names of a folder's files to disk; objects are safe once they are written. Raises OutputError."""
    if is_object(folder):
        return
    try:
        fsync_path(folder)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror}") from error


def stored_marks(folder: Path) -> dict[str, str]:
    """Return the marks of the files in a folder by name; empty if there is none. Files are read, objects are not.

    What killed processes left unfinished is removed. A file that cannot be read has no mark.
    """
    if is_object(folder):
        return object_marks(folder)
    marks = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        try:
            if path.name.startswith(_UNFINISHED):
                path.unlink(missing_ok=True)
            else:
                marks[path.name] = _mark(path.read_bytes())
        except OSError:  # a damaged block, or a folder in place of a file
            continue
    return marks


def stored_folders(folder: Path) -> list[str]:
    """Return the names of the folders directly in a folder."""
    if is_object(folder):
        return object_folders(folder)
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def stored_text(path: Path) -> str:
    """Return the text of a small file; empty if it is not there. Raises DataError for an object that cannot be read."""
    if is_object(path):
        return object_text(path, _MOST_TEXT_BYTES) if path.name in object_names(path.parent) else ""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def remove_stored(path: Path) -> None:
    """Remove a file, or a folder with all that it holds, if it is there."""
    if is_object(path):
        remove_objects(path)
    elif path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _mark(data: bytes) -> str:
    return f"{len(data)}-{checksum(data):08x}"
