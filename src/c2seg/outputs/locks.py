"""One process at a time works in a folder."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from c2seg.errors import OutputError
from c2seg.outputs.faults import write_faults

__all__ = ["working_in"]

_LOCK = ".lock"


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Hold a folder, which is created, inside the block. The lock ends with the process, however it ends.

    Raises OutputError, which names the other process, if one works there.
    """
    path = folder / _LOCK
    with write_faults(folder, folder):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _locked(path, folder)
    try:
        with write_faults(folder, folder):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"pid {os.getpid()} on host {socket.gethostname()}".encode(), 0)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _locked(path: Path, folder: Path) -> int:
    """Return the open lock file, locked. One that its last owner has removed meanwhile does not count."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(path.stat(), os.fstat(descriptor)):
                return descriptor
        except BlockingIOError:
            owner = os.pread(descriptor, 200, 0).decode(errors="replace")
            os.close(descriptor)
            who = f" ({owner})" if owner else ""
            raise OutputError(
                f"another process{who} is working in {folder}; wait for it, or give another folder"
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
