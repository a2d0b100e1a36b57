"""Finished rows on disk until the map is complete: flat files and a ledger, from which a killed run resumes.

Rows are written and synced before their line enters the ledger; a line that was cut off by a crash does not count. The
first line holds the key of the run: another model, city or option starts anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from c2seg.artifacts import StripNote, StripsKey
from c2seg.errors import OutputError
from c2seg.outputs import working_in

__all__ = ["RowFiles", "Scratch", "pending_key", "scratch_folder"]

RowShapes = Mapping[str, tuple[tuple[int, ...], Any]]

_LEDGER = "ledger.jsonl"


def scratch_folder(output: Path) -> Path:
    """Return the hidden folder beside an output that holds its finished rows."""
    return output.parent / f".{output.name}.scratch"


def pending_key(output: Path) -> StripsKey | None:
    """Return the key of the run that was stopped while it wrote ``output``; None if there is none."""
    try:
        with (scratch_folder(output) / _LEDGER).open(encoding="utf-8") as ledger:
            return _key(ledger.readline())
    except (OSError, UnicodeDecodeError):
        return None


def _key(line: str) -> StripsKey | None:
    """Return what a ledger's first line says; None for one that this version does not understand."""
    try:
        return StripsKey.parse(json.loads(line), "ledger")
    except (ValueError, AttributeError):
        return None


class RowFiles:
    """Flat row-major files ``[H, ...]``, one per layer. ``shapes`` gives the shape and dtype of one row by layer.

    Several processes may have them open and write different rows.
    """

    def __init__(self, folder: Path, height: int, shapes: RowShapes) -> None:
        self.folder = folder
        self._shapes = {name: (shape, np.dtype(dtype)) for name, (shape, dtype) in shapes.items()}
        self._height = height
        self._files: dict[str, int] = {}

    def open(self) -> None:
        """Open the files; they are made, and get their full (sparse) size, if need be."""
        for name in self._shapes:
            self._files[name] = os.open(self.folder / f"{name}.bin", os.O_RDWR | os.O_CREAT, 0o666)
            os.ftruncate(self._files[name], self._height * self._row_bytes(name))

    def write(self, first: int, layers: Mapping[str, np.ndarray]) -> None:
        """Store rows from ``first`` on, [rows, ...] by layer, and sync them."""
        try:
            for name, values in layers.items():
                data = np.ascontiguousarray(values, self._shapes[name][1]).reshape(-1).view(np.uint8).data
                _write_all(self._files[name], data, first * self._row_bytes(name))
                os.fdatasync(self._files[name])
        except OSError as error:
            raise _cannot_write(self.folder, error) from error

    def read(self, name: str, first: int, last: int) -> np.ndarray:
        """Return rows ``first .. last-1`` of a layer, [rows, ...]."""
        shape, dtype = self._shapes[name]
        size = (last - first) * self._row_bytes(name)
        data = os.pread(self._files[name], size, first * self._row_bytes(name))
        return np.frombuffer(data, dtype).reshape(last - first, *shape)

    def close(self) -> None:
        """Close the files; they stay on disk."""
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files = {}

    def _row_bytes(self, name: str) -> int:
        shape, dtype = self._shapes[name]
        return int(np.prod(shape)) * dtype.itemsize


class _LedgerEntry(StripNote):
    """A line of the ledger after the first."""

    strip: int


class Scratch:
    """The row files of an output in a hidden folder beside it, with the ledger of finished strips. One process owns it."""

    def __init__(self, output: Path, key: StripsKey, height: int, shapes: RowShapes) -> None:
        self.folder = scratch_folder(output)
        self.rows = RowFiles(self.folder, height, shapes)
        self._key = key
        self._held = ExitStack()
        self._ledger = -1
        self._end = 0
        self.finished: dict[int, StripNote] = {}

    def __enter__(self) -> Scratch:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._held.enter_context(working_in(self.folder))
            self._ledger = os.open(self.folder / _LEDGER, os.O_RDWR | os.O_CREAT, 0o666)
            self._read_ledger()
            self.rows.open()
        except OSError as error:
            self.close()
            if isinstance(error, OutputError):
                raise
            raise _cannot_write(self.folder, error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def enter(self, strip: int, note: StripNote) -> None:
        """Enter a strip whose rows are on disk, with its note."""
        entry = _LedgerEntry(strip=strip, counts=note.counts, expected=note.expected)
        try:
            self._append(entry.model_dump_json(exclude_none=True))
        except OSError as error:
            raise _cannot_write(self.folder, error) from error
        self.finished[strip] = note

    def close(self) -> None:
        """Close the files; they stay on disk."""
        self.rows.close()
        if self._ledger >= 0:
            os.close(self._ledger)
            self._ledger = -1
        self._held.close()

    def _append(self, line: str) -> None:
        # At a known offset: what a full disk cut off is written over, not continued.
        data = memoryview(f"{line}\n".encode())
        _write_all(self._ledger, data, self._end)
        os.fsync(self._ledger)
        self._end += len(data)

    def _read_ledger(self) -> None:
        size = os.fstat(self._ledger).st_size
        lines = os.pread(self._ledger, size, 0).decode(errors="replace").split("\n")
        self._end = 0
        if len(lines) < 2 or _key(lines[0]) != self._key:
            os.ftruncate(self._ledger, 0)
            self._append(self._key.as_line())
            return
        self._end = len(f"{lines[0]}\n".encode())
        for line in lines[1:-1]:  # what follows the last newline was cut off
            try:
                entry = _LedgerEntry.model_validate_json(line)
            except ValueError:
                break
            self.finished[entry.strip] = StripNote(counts=entry.counts, expected=entry.expected)
            self._end += len(f"{line}\n".encode())
        os.ftruncate(self._ledger, self._end)


def _cannot_write(folder: Path, error: OSError) -> OutputError:
    return OutputError(
        f"cannot write in {folder}: {error.strerror}; finished rows are kept: make room and run the same command to resume"
    )


def _write_all(descriptor: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written
