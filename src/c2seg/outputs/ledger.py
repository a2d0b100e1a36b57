"""Lines of finished work on disk, from which a killed process resumes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

__all__ = ["Ledger", "write_at"]


class Ledger:
    """An append-only text file; every line is synced before it counts. One process owns it.

    Its functions raise OSError. Lines are written at known offsets: what a full disk cut off is written over, not continued.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        self._end = 0

    def read(self) -> list[str]:
        """Return the lines that are there, the last one as far as it was written."""
        size = os.fstat(self._descriptor).st_size
        return os.pread(self._descriptor, size, 0).decode(errors="replace").split("\n")

    def append(self, lines: Iterable[str]) -> None:
        """Write lines after those that this process wrote, and sync."""
        data = memoryview("".join(f"{line}\n" for line in lines).encode())
        write_at(self._descriptor, data, self._end)
        os.fsync(self._descriptor)
        self._end += len(data)

    def replace(self, lines: Iterable[str]) -> None:
        """Write lines over what is there, so that a full disk is no obstacle, and cut off the rest."""
        self._end = 0
        self.append(lines)
        os.ftruncate(self._descriptor, self._end)

    def close(self) -> None:
        """Close the file; it stays on disk."""
        os.close(self._descriptor)


def write_at(descriptor: int, data: memoryview, offset: int) -> None:
    """Write all bytes at an offset of an open file. Raises OSError."""
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written
