"""Digests of content: of every byte of a file, equal on every machine, and computed only when the file may have changed.

A digest is remembered in this process, and for large files also in the user's cache folder, with a stat key: size, inode,
and times of modification and of change in nanoseconds. The key only decides whether the remembered digest still holds.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from c2seg.errors import DataError
from c2seg.raster.objects import is_object, object_digest

__all__ = ["DIGITS", "files_digest", "short", "stat_key"]

DIGITS = 32
"""Hexadecimal digits of a digest of data."""

_CHUNK_BYTES = 1 << 22
_LARGE_BYTES = 1 << 25
"""Digests of files from this size on are remembered beyond the process: a second's read or more on slow disks."""
_SETTLED_NS = 2_000_000_000
"""A file that changed less than this before it was read might change again within the resolution of its times."""

StatKey = tuple[int, int, int, int, int]

_remembered: dict[str, tuple[StatKey, str]] = {}


def files_digest(files: Iterable[Path], what: object = "") -> str:
    """Return ``DIGITS`` hex digits of the contents of files, in this order, and of the text of ``what``.

    Names and folders of the files do not count. Raises DataError for a file that cannot be read.
    """
    digest = hashlib.sha256(repr(what).encode())
    for file in files:
        digest.update(_file_digest(file).encode())
    return short(digest)


def short(digest: hashlib._Hash) -> str:
    """Return the first ``DIGITS`` hex digits of a digest."""
    return digest.hexdigest()[:DIGITS]


def stat_key(path: Path) -> StatKey:
    """Return device, inode, size, and times of modification and change (ns) of a file. Raises DataError if it is no file."""
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"cannot read {path}: it is no regular file")
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _file_digest(path: Path) -> str:
    if is_object(path):
        return object_digest(path)
    name, key = str(path.resolve()), stat_key(path)
    known = _remembered.get(name) or _recalled(name, key)
    if known and known[0] == key:
        return known[1]
    digest, started = _read(path), time.time_ns()
    if stat_key(path) == key and started - max(key[3:]) > _SETTLED_NS:
        _remembered[name] = (key, digest)
        if key[2] >= _LARGE_BYTES:
            _remember(name, key, digest)
    return digest


def _read(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    return digest.hexdigest()


def _memory_file(name: str) -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "c2seg" / "digests" / f"{hashlib.sha256(name.encode()).hexdigest()[:40]}.json"


def _recalled(name: str, key: StatKey) -> tuple[StatKey, str] | None:
    """Return what an earlier process remembered of a large file."""
    if key[2] < _LARGE_BYTES:
        return None
    try:
        content = json.loads(_memory_file(name).read_text(encoding="utf-8"))
        stored, digest = tuple(content["key"]), content["digest"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if stored != key or not isinstance(digest, str) or len(digest) != 64:
        return None
    _remembered[name] = (key, digest)
    return _remembered[name]


def _remember(name: str, key: StatKey, digest: str) -> None:
    """Leave a digest for later processes; a folder that cannot be written is no error."""
    file = _memory_file(name)
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(dir=file.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump({"key": key, "digest": digest}, stream)
        os.replace(temporary, file)
