"""Single files and folders."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from c2seg.errors import OutputError
from c2seg.outputs.checks import Output, check_outputs
from c2seg.outputs.commit import commit, fsync_path
from c2seg.outputs.faults import write_faults
from c2seg.outputs.temporary import TemporaryFolder

__all__ = ["atomic_file", "fsync_path", "make_folder", "remove_folder", "working_folder", "write_text"]


@contextmanager
def atomic_file(path: Path, *, overwrite: bool, private: bool = False) -> Iterator[Path]:
    """Yield a temporary path of the same name. On success, it is renamed to ``path``; on failure, it is removed.

    The file gets the permissions of the user's umask; a ``private`` one is for its owner alone. Several files of a command
    belong in one ``commit``. Raises OutputError if the file exists already, or cannot be written.
    """
    check_outputs([Output(path)], overwrite=overwrite)
    with commit(overwrite=overwrite) as files:
        yield files.add(path, private=private)


@contextmanager
def working_folder(beside: Path) -> Iterator[Path]:
    """Yield a new folder in the folder ``beside``, for work on the way; it is removed afterwards, also after a kill."""
    with write_faults(beside, beside):
        temporary = TemporaryFolder(beside)
    try:
        yield temporary.part()
    finally:
        temporary.remove()


def write_text(path: Path, text: str, *, overwrite: bool = True) -> None:
    """Write a text file atomically."""
    with atomic_file(path, overwrite=overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")


def make_folder(path: Path) -> None:
    """Create a folder if it is missing. Raises OutputError if it is not writable."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        TemporaryFolder(path).remove()
    except FileExistsError:
        raise OutputError(f"cannot write the folder {path}: it is a file; give a folder") from None
    except OSError as error:
        raise OutputError(f"cannot write in the folder {path}: {error.strerror}") from error


def remove_folder(path: Path) -> None:
    """Remove a folder of scratch files if it exists."""
    shutil.rmtree(path, ignore_errors=True)
