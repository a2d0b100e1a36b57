"""The store of received archives: files named by their SHA-256, whole or absent, synced before anybody refers to them."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from c2seg.errors import DataError, OutputError
from c2seg.outputs import fsync_path, write_faults

__all__ = ["Archives", "Stored"]

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Stored:
    """An archive in the store."""

    sha256: str
    size: int


class Archives:
    """The folder of archives. Equal contents are one file, whoever sent them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, sha256: str) -> Path:
        """Return where an archive lies, or would."""
        if not _DIGEST.fullmatch(sha256):
            raise DataError(f"{ascii(sha256)[:80]} is no SHA-256")
        return self._folder / sha256[:2] / sha256

    def adopt(self, source: Path) -> Stored:
        """Move a complete file into the store, durably. Raises OutputError, DataError for what is no regular file."""
        stored = self._synced(source)
        place = self.path(stored.sha256)
        with write_faults(place, self._folder):
            place.parent.mkdir(mode=0o700, exist_ok=True)
            try:
                os.replace(source, place)  # in place of an equal file at most
            except OSError as error:
                if error.errno == errno.EXDEV:
                    raise OutputError(
                        f"{source} is on another file system than the store; give a file beside it"
                    ) from None
                raise
            os.utime(place)  # young again, so that no sweep removes it before its entry is there
            fsync_path(place.parent)
            fsync_path(self._folder)
        return stored

    def adopt_all(self, sources: Mapping[str, Path]) -> dict[str, Stored]:
        """Move files by name of data set. One file may stand for several."""
        adopted: dict[Path, Stored] = {}
        for path in sources.values():
            if path not in adopted:
                adopted[path] = self.adopt(path)
        return {name: adopted[path] for name, path in sources.items()}

    def check(self, sha256: str) -> Path:
        """Return the path of an archive whose content is what it was. Raises DataError if it is missing or damaged."""
        path = self.path(sha256)
        try:
            with path.open("rb") as stream:
                same = hashlib.file_digest(stream, "sha256").hexdigest() == sha256
        except FileNotFoundError:
            raise DataError(f"the archive {sha256[:12]} is missing in the store") from None
        if not same:
            raise DataError(f"the archive {sha256[:12]} in the store was changed")
        return path

    def digests(self) -> Iterator[str]:
        """Yield the digests of all archives."""
        for folder in sorted(self._folder.iterdir()):
            if folder.is_dir():
                yield from sorted(path.name for path in folder.iterdir() if _DIGEST.fullmatch(path.name))

    def remove_orphans(self, referred: Collection[str], older_s: float) -> int:
        """Remove archives that no entry refers to and that came in before ``older_s`` seconds. Returns their number."""
        limit, removed = time.time() - older_s, 0
        for digest in self.digests():
            path = self.path(digest)
            if digest not in referred and path.stat().st_mtime < limit:
                path.unlink(missing_ok=True)
                removed += 1
        return removed

    def _synced(self, source: Path) -> Stored:
        """Return digest and size of a regular file, and sync it."""
        try:
            descriptor = os.open(source, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise DataError(f"cannot read the upload {source.name}: {error.strerror}") from None
        with os.fdopen(descriptor, "rb") as stream:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise DataError(f"the upload {source.name} is no regular file")
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            os.fchmod(descriptor, 0o600)
            os.fsync(descriptor)
            return Stored(digest, status.st_size)
