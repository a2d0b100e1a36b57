"""Atomic outputs: each file is written under a temporary name in the same folder, then renamed."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from c2seg.errors import OutputError

__all__ = ["atomic_file", "check_output", "fsync_path", "make_folder", "remove_folder", "write_text"]

_WRITE_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG}


def check_output(path: Path, *, overwrite: bool) -> None:
    """Raise OutputError if ``path`` exists and may not be overwritten, or if its folder is not writable.

    Missing parent folders are created. Call it before a long computation, so that a wrong path fails early.
    """
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder; give a file name")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already; give another name or `overwrite=True`")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {path.parent}: {error.strerror}") from error
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"cannot write {path}: no permission to write in {path.parent}")


@contextmanager
def atomic_file(path: Path, *, overwrite: bool, private: bool = False) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path``. On success, rename it to ``path``; on failure, remove it.

    The temporary name keeps the suffix (``map.tif`` -> ``.map.tmp-<pid>.tif``) so that drivers recognize it. The file gets
    the permissions of the user's umask; a ``private`` file keeps those it was created with.
    """
    check_output(path, overwrite=overwrite)
    temporary = path.parent / f".{path.stem}.tmp-{os.getpid()}{path.suffix}"
    try:
        mode = _mode_of_new_file(temporary)
        yield temporary
        if not private:
            temporary.chmod(mode)  # some writers create files that only the owner can read
        fsync_path(temporary)
        os.replace(temporary, path)
    except OSError as error:
        if error.errno in _WRITE_FAULTS:  # other OSErrors come from reading inputs
            raise OutputError(f"cannot write {path}: {error.strerror}") from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _mode_of_new_file(path: Path) -> int:
    """Return the permissions of a new file at ``path``. (Reading the umask would change it for a moment.)"""
    path.unlink(missing_ok=True)
    path.touch()
    mode = stat.S_IMODE(path.stat().st_mode)
    path.unlink()
    return mode


def fsync_path(path: Path) -> None:
    """Flush a file to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str, *, overwrite: bool = True) -> None:
    """Write a text file atomically."""
    with atomic_file(path, overwrite=overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")


def make_folder(path: Path) -> None:
    """Create a folder if it is missing. Raises OutputError if it is not writable."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".writable"
        probe.touch()
        probe.unlink()
    except FileExistsError:
        raise OutputError(f"cannot write the folder {path}: it is a file; give a folder") from None
    except OSError as error:
        raise OutputError(f"cannot write in the folder {path}: {error.strerror}") from error


def remove_folder(path: Path) -> None:
    """Remove a folder of scratch files if it exists."""
    shutil.rmtree(path, ignore_errors=True)
