"""Unfinished uploads on disk. What was acknowledged is there after a crash; what came without being checked is not.

Of every upload there are three files: its record (``ID.json``), its bytes (``ID.part``) and how many of them count
(``ID.offset``, 16 bytes that are written in place after the bytes are on disk).
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from c2seg.errors import DataError
from c2seg.outputs import fsync_path, make_folder
from c2seg.records import Artifact
from c2seg.server.web.piece import Piece
from c2seg.server.web.tus import Checksum, TusError

__all__ = ["PartialStore", "UploadRecord"]

_ID = re.compile(r"[0-9a-f]{32}")
_RESERVE_BYTES = 256 * 2**20
"""Of the disk, which uploads do not fill."""


class UploadRecord(Artifact):
    """One unfinished upload: whose it is, its bytes in all, what the client said of it, and when it is removed."""

    artifact: Literal["upload"] = "upload"
    id: str
    team_id: int
    length: int
    metadata: dict[str, str]
    expires_at: int


class PartialStore:
    """The unfinished uploads in a folder, for one process. Every method may be called from any thread."""

    def __init__(
        self, folder: Path, *, expire_s: int, open_uploads: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._folder, self._expire_s, self._open_uploads, self._clock = folder, expire_s, open_uploads, clock
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        make_folder(folder)
        self._records = dict(self._read_records())
        self.sweep()

    def create(self, team_id: int, length: int, metadata: Mapping[str, str]) -> UploadRecord:
        """Start an upload. Raises TusError: 429 for too many unfinished ones of a team, 507 for a disk without room."""
        with self._lock:
            if sum(record.team_id == team_id for record in self._records.values()) >= self._open_uploads:
                raise TusError(429, f"a team may have {self._open_uploads} unfinished uploads; finish or delete one")
            due = length + sum(record.length for record in self._records.values())
            if shutil.disk_usage(self._folder).free - _RESERVE_BYTES < due:
                raise TusError(507, "the server's disk has no room for this upload; tell the organizers")
            record = UploadRecord(
                id=secrets.token_hex(16), team_id=team_id, length=length, metadata=dict(metadata),
                expires_at=int(self._clock()) + self._expire_s,
            )  # fmt: skip
            self._records[record.id] = record
        try:
            self._write_new(record)
        except BaseException:
            self.remove(record)
            raise
        return record

    def record(self, upload_id: str, team_id: int) -> UploadRecord:
        """Return a team's upload. Raises TusError: 404 for none of this team, 410 for one that is too old."""
        record = self._records.get(upload_id)
        if record is None or record.team_id != team_id:
            raise TusError(404, "there is no such upload; it was finished, deleted or too old")
        if record.expires_at <= self._clock():
            self.remove(record)
            raise TusError(410, "the upload is too old; start it again")
        return record

    def records(self, team_id: int) -> list[UploadRecord]:
        """Return a team's unfinished uploads."""
        now = self._clock()
        return [r for r in list(self._records.values()) if r.team_id == team_id and r.expires_at > now]

    def offset(self, record: UploadRecord) -> int:
        """Return how many bytes of an upload are safe on disk. Raises TusError (404) if its file has become an entry's."""
        if not self._path(record, ".part").is_file():  # a crash came before the rest was removed
            self.remove(record)
        try:
            return int(self._path(record, ".offset").read_bytes()[:15])
        except (OSError, ValueError):
            raise TusError(404, "there is no such upload; it was finished, deleted or too old") from None

    @contextmanager
    def piece(self, record: UploadRecord, offset: int, checksum: Checksum | None) -> Iterator[Piece]:
        """Open an upload for its next piece. Raises TusError: 423 while another request writes it, 409 for another offset."""
        with self.hold(record):
            if offset != self.offset(record):
                raise TusError(409, f"Upload-Offset must be {self.offset(record)}")
            descriptor = os.open(self._path(record, ".part"), os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            offsets = os.open(self._path(record, ".offset"), os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                yield Piece(descriptor, offsets, offset, record.length, checksum)
            finally:
                os.close(descriptor)
                os.close(offsets)

    @contextmanager
    def hold(self, *records: UploadRecord) -> Iterator[None]:
        """Keep every other request from these uploads within the block. Raises TusError (423) if one is in use."""
        names = {record.id for record in records}
        with self._lock:
            if self._busy & names:
                raise TusError(423, "another request is writing this upload")
            self._busy |= names
        try:
            yield
        finally:
            with self._lock:
                self._busy -= names

    def whole(self, record: UploadRecord) -> Path:
        """Return the file of an upload that is complete. Raises TusError (409) if it is not."""
        if self.offset(record) != record.length:
            raise TusError(409, "the upload is not complete")
        return self._path(record, ".part")

    def remove(self, record: UploadRecord) -> None:
        """Forget an upload and remove its files, also where some are gone."""
        with self._lock:
            self._records.pop(record.id, None)
        for suffix in (".json", ".new", ".offset", ".part"):
            self._path(record, suffix).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove uploads that are too old, and files that no record names."""
        now = self._clock()
        for record in list(self._records.values()):
            if record.expires_at <= now:
                with suppress(TusError), self.hold(record):
                    self.remove(record)
        for path in self._folder.iterdir():
            if path.suffix in (".part", ".offset", ".new") and path.stem not in self._records:
                path.unlink(missing_ok=True)

    def _read_records(self) -> Iterator[tuple[str, UploadRecord]]:
        for path in self._folder.glob("*.json"):
            try:
                record = UploadRecord.read(path)
            except DataError:
                record = None
            if record is None or record.id != path.stem or not _ID.fullmatch(record.id):
                path.unlink(missing_ok=True)
            else:
                yield record.id, record

    def _write_new(self, record: UploadRecord) -> None:
        """The record comes last, by a new name: without it, the others are swept. Threads do this at the same time."""
        new = self._path(record, ".new")
        for path, content in (
            (self._path(record, ".part"), b""),
            (self._path(record, ".offset"), b"%015d\n" % 0),
            (new, record.as_text().encode()),
        ):
            with open(path, "xb", opener=_private) as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        new.replace(self._path(record, ".json"))
        fsync_path(self._folder)

    def _path(self, record: UploadRecord, suffix: str) -> Path:
        return self._folder / f"{record.id}{suffix}"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
