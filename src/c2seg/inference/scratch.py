"""Finished rows on disk until the map is whole: flat files and a ledger, so that a killed run goes on where it was.

Rows are written and synced before their line enters the ledger; a line that was cut off by a crash does not count. The
first line holds the key of the run: another model, city or option starts afresh.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from c2seg.errors import OutputError
from c2seg.outputs import remove_folder

__all__ = ["Scratch"]


class Scratch:
    """Flat row-major files ``[H, ...]`` in a hidden folder beside the output, with the ledger of finished strips.

    ``shapes`` gives, by layer, the shape and dtype of one row.
    """

    def __init__(
        self, output: Path, key: Mapping[str, Any], height: int, shapes: Mapping[str, tuple[tuple[int, ...], Any]]
    ) -> None:
        self.folder = output.parent / f".{output.name}.scratch"
        self._key = json.dumps(key, sort_keys=True)
        self._shapes = {name: (shape, np.dtype(dtype)) for name, (shape, dtype) in shapes.items()}
        self._height = height
        self._files: dict[str, int] = {}
        self._ledger: IO[str] | None = None
        self.finished: dict[int, dict[str, Any]] = {}

    def __enter__(self) -> Scratch:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._ledger = (self.folder / "ledger.jsonl").open("a+", encoding="utf-8")
            try:
                fcntl.flock(self._ledger, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise OutputError(f"another process is writing this map (it holds {self.folder})") from error
            self._read_ledger()
            for name, (shape, dtype) in self._shapes.items():
                size = self._height * int(np.prod(shape)) * dtype.itemsize
                self._files[name] = os.open(self.folder / f"{name}.bin", os.O_RDWR | os.O_CREAT, 0o644)
                os.ftruncate(self._files[name], size)
        except OSError as error:
            self.close()
            if isinstance(error, OutputError):
                raise
            raise OutputError(f"cannot write in {self.folder}: {error.strerror}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, strip: int, first: int, layers: Mapping[str, np.ndarray], note: Mapping[str, Any]) -> None:
        """Store the rows of a strip, [rows, ...] by layer, sync them, then enter the strip with its note."""
        assert self._ledger is not None
        try:
            for name, values in layers.items():
                shape, dtype = self._shapes[name]
                row_bytes = int(np.prod(shape)) * dtype.itemsize
                _write_all(self._files[name], np.ascontiguousarray(values, dtype), first * row_bytes)
                os.fdatasync(self._files[name])
            self._ledger.write(json.dumps({"strip": strip, **note}) + "\n")
            self._ledger.flush()
            os.fsync(self._ledger.fileno())
        except OSError as error:
            raise OutputError(
                f"cannot write in {self.folder}: {error.strerror}; make room and run the same command to go on"
            ) from error
        self.finished[strip] = dict(note)

    def read(self, name: str, first: int, last: int) -> np.ndarray:
        """Return rows ``first .. last-1`` of a layer, [rows, ...]."""
        shape, dtype = self._shapes[name]
        row_bytes = int(np.prod(shape)) * dtype.itemsize
        data = os.pread(self._files[name], (last - first) * row_bytes, first * row_bytes)
        return np.frombuffer(data, dtype).reshape(last - first, *shape)

    def close(self) -> None:
        """Close the files; they stay on disk."""
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files = {}
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    def remove(self) -> None:
        """Close and delete everything."""
        self.close()
        remove_folder(self.folder)

    def _read_ledger(self) -> None:
        assert self._ledger is not None
        self._ledger.seek(0)
        lines = self._ledger.read().split("\n")
        if lines[0] != self._key or len(lines) < 2:
            self._ledger.truncate(0)
            self._ledger.write(self._key + "\n")
            self._ledger.flush()
            return
        for line in lines[1:-1]:  # what follows the last newline was cut off
            try:
                entry = json.loads(line)
                self.finished[int(entry.pop("strip"))] = entry
            except (ValueError, KeyError, AttributeError):
                break
        self._ledger.truncate(len("\n".join([self._key, *lines[1 : 1 + len(self.finished)]]).encode()) + 1)


def _write_all(descriptor: int, values: np.ndarray, offset: int) -> None:
    data = values.reshape(-1).view(np.uint8).data
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written
