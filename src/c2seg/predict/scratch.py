"""Finished rows on disk until the map is complete: flat files, parts and a ledger, from which a killed run resumes.

Rows of the map are in a flat file here; those of other layers are in parts (``parts``), here or elsewhere. Both are written
and synced before their line enters the ledger. The first line holds the key of the run: another model,
city or option starts anew. Every other line holds a checksum of itself and those of its strip's rows. A line that is
damaged or cut off does not count. Parts are checked when a run resumes and before files are made of them, rows when the map
is made of them; what is damaged is computed again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from c2seg.artifacts import StripNote, StripsKey
from c2seg.checksums import checksum, json_checksum
from c2seg.documents import parse_json
from c2seg.errors import OutputError
from c2seg.outputs import Ledger, working_in, write_at
from c2seg.predict.parts import NO_PARTS, StripParts

__all__ = ["RowFiles", "RowReader", "Scratch", "pending_key", "scratch_folder"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

_TRIES = 3  # to read rows as they were written

RowReader = Callable[[int, int], np.ndarray]
"""Returns rows ``first .. last-1`` of a layer, [rows, ...]."""

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
        return StripsKey.parse(parse_json(line, "ledger"), "ledger")
    except (ValueError, AttributeError, TypeError, RecursionError):
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

    def write(self, first: int, layers: Mapping[str, np.ndarray]) -> dict[str, int]:
        """Store rows from ``first`` on, [rows, ...] by layer, and sync them; return the checksum of each layer."""
        sums = {}
        try:
            for name, values in layers.items():
                data = np.ascontiguousarray(values, self._shapes[name][1]).reshape(-1).view(np.uint8)
                sums[name] = checksum(data)
                write_at(self._files[name], data.data, first * self._row_bytes(name))
                os.fdatasync(self._files[name])
        except OSError as error:
            raise _cannot_write(self.folder, error) from error
        return sums

    def read(self, name: str, first: int, last: int) -> np.ndarray:
        """Return rows ``first .. last-1`` of a layer, [rows, ...]; zeros where they cannot be read."""
        shape, dtype = self._shapes[name]
        size = (last - first) * self._row_bytes(name)
        try:
            data = os.pread(self._files[name], size, first * self._row_bytes(name))
        except OSError:  # a damaged block; the checksum tells
            data = b""
        return np.frombuffer(data.ljust(size, b"\0"), dtype).reshape(last - first, *shape)

    def close(self) -> None:
        """Close the files; they stay on disk."""
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files = {}

    def _row_bytes(self, name: str) -> int:
        shape, dtype = self._shapes[name]
        return int(np.prod(shape)) * dtype.itemsize


class _CheckedRows:
    """Reads a layer, and names strips whose rows are not those that were written, once it was read from top to bottom."""

    def __init__(self, read: RowReader, strips: Sequence[tuple[int, int]], sums: Sequence[int]) -> None:
        self._read = read
        self.strips = strips
        self._sums = sums
        self._strip = 0
        self._sum = 0
        self.damaged: set[int] = set()

    def __call__(self, first: int, last: int) -> np.ndarray:
        values = self._read(first, last)
        if first == 0 and self._strip < len(self.strips):
            self._strip = self._sum = 0
        while self._strip < len(self.strips) and self.strips[self._strip][0] < last:
            top, bottom = self.strips[self._strip]
            self._sum = checksum(values[max(top, first) - first : bottom - first], self._sum)
            if bottom > last:
                break
            if self._sum != self._sums[self._strip]:
                self.damaged.add(self._strip)
            self._strip, self._sum = self._strip + 1, 0
        return values


class _LedgerEntry(StripNote):
    """A line of the ledger after the first. Its checksum covers the key of the run, too."""

    strip: int
    checksum: int = 0

    def checksum_in(self, ledger: int) -> int:
        """Return the checksum of this line in the ledger whose first line has the checksum ``ledger``."""
        return json_checksum(self.model_copy(update={"checksum": 0}).as_json(), ledger)


class Scratch:
    """The row files of an output in a hidden folder beside it, with the ledger of finished strips. One process owns it.

    ``shapes`` are those of rows in flat files, ``parts`` the other layers. ``strips`` are their first and last-plus-one rows,
    from top to bottom.
    """

    def __init__(
        self,
        output: Path,
        key: StripsKey,
        height: int,
        shapes: RowShapes,
        strips: Sequence[tuple[int, int]],
        parts: StripParts = NO_PARTS,
    ) -> None:
        self.folder = scratch_folder(output)
        self.rows = RowFiles(self.folder, height, shapes)
        self.parts = parts
        self._layers = set(shapes) | parts.names
        self.strips = strips
        self._key = key
        self._key_sum = json_checksum(key.as_json())
        self._held = ExitStack()
        self._ledger: Ledger | None = None
        self._readers: list[_CheckedRows] = []
        self.finished: dict[int, StripNote] = {}

    def __enter__(self) -> Scratch:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._held.enter_context(working_in(self.folder))
            self._ledger = Ledger(self.folder / _LEDGER)
            self._read_ledger(self._ledger)
            self.rows.open()
            self.parts.open()
            self._drop(self._damaged_parts())
        except BaseException as error:
            self.close()
            if isinstance(error, OSError) and not isinstance(error, OutputError):
                raise _cannot_write(self.folder, error) from error
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def enter(self, strip: int, note: StripNote) -> None:
        """Enter a strip whose rows are on disk, with its note."""
        entry = _LedgerEntry(strip=strip, **dict(note))
        entry = entry.model_copy(update={"checksum": entry.checksum_in(self._key_sum)})
        assert self._ledger is not None
        try:
            self._ledger.append([entry.model_dump_json(exclude_none=True)])
        except OSError as error:
            raise _cannot_write(self.folder, error) from error
        self.finished[strip] = note

    @property
    def notes(self) -> list[StripNote]:
        """The notes of the finished strips, from top to bottom."""
        return [self.finished[strip] for strip in sorted(self.finished)]

    def reader(self, layer: str) -> RowReader:
        """Return a reader of a layer's rows from top to bottom, when all strips are finished; call it in ``until_whole``."""
        sums = [self.finished[strip].checksums[layer] for strip in range(len(self.strips))]

        def read(first: int, last: int) -> np.ndarray:
            return self.rows.read(layer, first, last)

        self._readers.append(_CheckedRows(read, self.strips, sums))
        return self._readers[-1]

    def sums(self, layer: str) -> dict[tuple[int, int], int]:
        """Return the checksums of a layer's pixels by first and last-plus-one row, when all strips are finished."""
        return {rows: self.finished[strip].checksums[layer] for strip, rows in enumerate(self.strips)}

    def until_whole(self, compute: Callable[[], None], publish: Callable[[], T]) -> tuple[T, set[int]]:
        """Return what ``publish`` made of rows and parts that are as they were written, and which strips were not at first.

        ``compute`` computes the strips that are not finished; ``publish`` reads through ``reader``. Raises OutputError if
        strips change again and again.
        """
        damaged: set[int] = set()
        for _ in range(_TRIES):
            self._readers = []
            compute()
            now = self._damaged_parts()
            if not now:
                made = publish()
                now = now.union(*(reader.damaged for reader in self._readers))
                if not now:
                    return made, damaged
            damaged |= now
            self._drop(now)
        raise OutputError(
            f"rows in {self.folder} or parts of it are not read as they were written; write the map to another disk"
        )

    def _damaged_parts(self) -> set[int]:
        return self.parts.damaged({strip: note.parts for strip, note in self.finished.items()})

    def _drop(self, damaged: set[int]) -> None:
        """Forget strips that are to be computed again."""
        if damaged:
            _log.warning("%d strips in %s were damaged on disk and are computed again", len(damaged), self.folder)
        for strip in damaged:
            del self.finished[strip]

    def close(self) -> None:
        """Close the files; they stay on disk."""
        self.rows.close()
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None
        self._held.close()

    def _read_ledger(self, ledger: Ledger) -> None:
        """Take over the strips of a stopped run, and write the ledger without what does not count."""
        first, *rest = ledger.read()
        entries = {line: entry for line in rest if (entry := self._entry(line))} if _key(first) == self._key else {}
        self.finished = {
            entry.strip: StripNote(**{name: getattr(entry, name) for name in StripNote.model_fields})
            for entry in entries.values()
        }
        # Lines of another key do not count, whenever this is stopped: the first one is written first.
        ledger.replace([self._key.as_line(), *entries])

    def _entry(self, line: str) -> _LedgerEntry | None:
        """Return what a line says; None if it is damaged, or of a release without checksums."""
        try:
            entry = _LedgerEntry.model_validate_json(line)
            whole = entry.checksum == entry.checksum_in(self._key_sum)
        except ValueError:
            return None
        whole = whole and set(entry.checksums) == self._layers and set(entry.parts) == self.parts.names
        whole = whole and entry.strip in range(len(self.strips))
        return entry if whole else None


def _cannot_write(folder: Path, error: OSError) -> OutputError:
    return OutputError(
        f"cannot write in {folder}: {error.strerror}; finished rows are kept: make room and run the same command to resume"
    )
