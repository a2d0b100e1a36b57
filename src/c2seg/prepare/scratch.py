"""Finished pieces of images on disk until all files are complete: flat files and a ledger, from which a killed run resumes.

A piece is a window of one layer: ``STRIP_PX`` rows, some columns, all bands. Its pixels are written and synced before its
line enters the ledger. The ledger's first line holds the key of the run: other inputs or parameters start anew. Every line
has a checksum; pixels are compared with theirs when the files are made of them.
"""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from c2seg.checksums import checksum, json_checksum
from c2seg.errors import OutputError
from c2seg.outputs import Ledger, working_in, write_at
from c2seg.types import Grid, Window

__all__ = ["STRIP_PX", "DamagedPieceError", "LayerFile", "Piece", "Scratch", "scratch_folder"]

STRIP_PX = 512
_LEDGER = "ledger.jsonl"
_BAND_BYTES = 48 << 20
"""Of the float32 values of a piece, all bands and dates."""


class DamagedPieceError(Exception):
    """A piece reads back differently; ``number`` is forgotten in the ledger of its layer."""

    def __init__(self, layer: str, number: int) -> None:
        super().__init__(layer, number)
        self.layer, self.number = layer, number


@dataclass(frozen=True)
class Piece:
    """What the ledger notes of a finished piece: checksums of its pixels and its validity, and its valid pixels."""

    pixels: int
    validity: int
    valid: int


@dataclass(frozen=True)
class LayerFile:
    """Where the pieces of a layer are stored: stored numbers, then validity, piece after piece. Picklable."""

    path: Path
    name: str
    count: int
    dtype: str
    height: int
    width: int
    columns: int

    @classmethod
    def of(cls, folder: Path, name: str, count: int, dtype: str, grid: Grid, dates: int) -> LayerFile:
        """Return the file of a layer; pieces of many bands or dates have fewer columns."""
        columns = _BAND_BYTES // (4 * STRIP_PX * count * max(1, dates)) // STRIP_PX * STRIP_PX
        return cls(
            folder / f"{name}.bin", name, count, dtype, grid.height, grid.width, min(max(columns, STRIP_PX), 2048)
        )

    @property
    def windows(self) -> list[Window]:
        """The pieces, row by row."""
        return [
            Window(row, col, min(STRIP_PX, self.height - row), min(self.columns, self.width - col))
            for row in range(0, self.height, STRIP_PX)
            for col in range(0, self.width, self.columns)
        ]

    def offset(self, window: Window) -> int:
        """Return where a piece begins: all rows above, and the pieces to the left, are before it."""
        return (window.row * self.width + window.height * window.col) * self._pixel_bytes

    def write(self, window: Window, stored: np.ndarray, valid: np.ndarray) -> Piece:
        """Write a piece, stored [C, H, W] and valid bool [H, W], and sync it."""
        pixels = np.ascontiguousarray(stored, np.dtype(self.dtype)).reshape(-1).view(np.uint8)
        validity = np.ascontiguousarray(valid).reshape(-1).view(np.uint8)
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o666)
            try:
                start = self.offset(window)
                write_at(descriptor, pixels.data, start)
                write_at(descriptor, validity.data, start + pixels.size)
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _cannot_write(self.path.parent, error) from error
        return Piece(checksum(pixels), checksum(validity), int(valid.sum()))

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Return a piece as it was written; zeros where it cannot be read."""
        size = window.height * window.width
        with self.path.open("rb") as file:
            file.seek(self.offset(window))
            data = file.read(size * self._pixel_bytes).ljust(size * self._pixel_bytes, b"\0")
        cut = size * (self._pixel_bytes - 1)
        stored = np.frombuffer(data, self.dtype, count=size * self.count)
        valid = np.frombuffer(data, np.uint8, offset=cut)
        shape = (window.height, window.width)
        return stored.reshape(self.count, *shape), valid.reshape(shape)

    def read_valid(self, window: Window) -> np.ndarray:
        """Return the validity of a piece as it was written, uint8 [H, W]; zeros where it cannot be read."""
        size = window.height * window.width
        with self.path.open("rb") as file:
            file.seek(self.offset(window) + size * (self._pixel_bytes - 1))
            data = file.read(size).ljust(size, b"\0")
        return np.frombuffer(data, np.uint8).reshape(window.height, window.width)

    @property
    def _pixel_bytes(self) -> int:
        return self.count * np.dtype(self.dtype).itemsize + 1


class Scratch:
    """The pieces of an output in a hidden folder beside it, with the ledger of finished ones. One process owns it."""

    def __init__(self, output: Path, key: str) -> None:
        self.folder = scratch_folder(output)
        self._key = key
        self._held = ExitStack()
        self._ledger: Ledger | None = None
        self.finished: dict[tuple[str, int], Piece] = {}

    def __enter__(self) -> Scratch:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._held.enter_context(working_in(self.folder))
            self._ledger = Ledger(self.folder / _LEDGER)
            self._read_ledger(self._ledger)
        except OSError as error:
            self.__exit__(None, None, None)
            if isinstance(error, OutputError):
                raise
            raise _cannot_write(self.folder, error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None
        self._held.close()

    def enter(self, layer: str, number: int, piece: Piece) -> None:
        """Enter a piece whose pixels are on disk."""
        assert self._ledger is not None
        try:
            self._ledger.append([self._line(layer, number, piece)])
        except OSError as error:
            raise _cannot_write(self.folder, error) from error
        self.finished[layer, number] = piece

    def checked(self, file: LayerFile, number: int, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Return a finished piece. Raises DamagedPieceError, and forgets it, if it is not what was written."""
        stored, valid = file.read(window)
        piece = self.finished[file.name, number]
        self._check(file, number, (checksum(stored), checksum(valid)) == (piece.pixels, piece.validity))
        return stored, valid

    def checked_valid(self, file: LayerFile, number: int, window: Window) -> np.ndarray:
        """Return the validity of a finished piece, as ``checked`` does."""
        valid = file.read_valid(window)
        self._check(file, number, checksum(valid) == self.finished[file.name, number].validity)
        return valid

    def _check(self, file: LayerFile, number: int, whole: bool) -> None:
        if not whole:
            del self.finished[file.name, number]
            raise DamagedPieceError(file.name, number)

    def _line(self, layer: str, number: int, piece: Piece) -> str:
        entry: list[Any] = [layer, number, piece.pixels, piece.validity, piece.valid]
        return json.dumps([*entry, json_checksum([self._key, *entry])])

    def _read_ledger(self, ledger: Ledger) -> None:
        first, *rest = ledger.read()
        entries = [entry for line in rest if (entry := self._entry(line))] if first == json.dumps(self._key) else []
        self.finished = dict(entries)
        ledger.replace([json.dumps(self._key), *(self._line(*key, piece) for key, piece in self.finished.items())])

    def _entry(self, line: str) -> tuple[tuple[str, int], Piece] | None:
        """Return what a line says; None if it is damaged."""
        try:
            *entry, said = json.loads(line)
            layer, number, *numbers = entry
            whole = said == json_checksum([self._key, *entry])
            return ((layer, number), Piece(*numbers)) if whole else None
        except (ValueError, TypeError):
            return None


def scratch_folder(output: Path) -> Path:
    """Return the hidden folder beside an output that holds its finished pieces."""
    return output.parent / f".{output.name}.scratch"


def _cannot_write(folder: Path, error: OSError) -> OutputError:
    return OutputError(
        f"cannot write in {folder}: {error.strerror}; finished parts are kept: make room and run the same command to resume"
    )
