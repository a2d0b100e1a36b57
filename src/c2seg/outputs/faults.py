"""Faults of writing, such as a full disk, are the user's errors."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from c2seg.errors import C2SegError, OutputError, one_line

__all__ = ["fault_of_files", "is_write_fault", "write_faults"]

_ALWAYS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}  # no reading ends with one of these
_OF_A_PLACE = {errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP, errno.EIO, errno.ENOENT}
# Libraries that write themselves say it in words: h5py, safetensors, SQLite, torch.
_WORDS = (
    "No space left", "disk is full", "Disk quota exceeded", "File too large", "Read-only file system", "errno = 28",
    "errno = 27", "disk I/O error", "PytorchStreamWriter failed", "Write error", "os error 28", "os error 27",
)  # fmt: skip


def is_write_fault(error: BaseException) -> bool:
    """Return True for an error that only writing can cause, whichever library raised it."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _ALWAYS
    return any(word.lower() in str(error).lower() for word in _WORDS)


def fault_of_files(error: BaseException) -> str | None:
    """Return in words what is wrong with files or disks; None for an error of another kind. A last net for commands."""
    where = getattr(error, "filename", None)
    reason = getattr(error, "strerror", None) or one_line(error)[:200]
    if is_write_fault(error):
        return f"cannot write{f' {where}' if where else ''}: {reason}"
    if isinstance(error, OSError) and error.errno in _OF_A_PLACE and where:
        return f"cannot use {str(where)[:200]}: {reason}"
    return None


@contextmanager
def write_faults(path: Path, folder: Path | None = None) -> Iterator[None]:
    """Raise OutputError about ``path`` for an error of writing inside the block.

    Errors that reading causes as well count only for files in ``folder`` (where ``path`` is on its way).
    """
    try:
        yield
    except C2SegError:
        raise
    except Exception as error:
        if not (is_write_fault(error) or _is_in(error, folder)):
            raise
        reason = getattr(error, "strerror", None) or one_line(error)[:200]
        raise OutputError(f"cannot write {path}: {reason}") from error


def _is_in(error: BaseException, folder: Path | None) -> bool:
    if folder is None or not isinstance(error, OSError) or error.errno not in _OF_A_PLACE:
        return False
    return isinstance(error.filename, str) and Path(error.filename).is_relative_to(folder)
