"""Files in object storage (S3 and what speaks like it), read in place; small ones are written whole.

Users name them ``s3://bucket/key``; inside they are paths as GDAL has them, ``/vsis3/bucket/key``. GDAL reads pixels, boto3
lists folders, reads and writes whole objects; each finds credentials and endpoint as it always does (environment, profile,
instance).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from c2seg.errors import C2SegError, DataError, OutputError, needs_extra, one_line

__all__ = [
    "is_object",
    "object_digest",
    "object_folders",
    "object_marks",
    "object_names",
    "object_path",
    "object_text",
    "object_url",
    "put_object",
    "remove_objects",
]

_GDAL = "/vsis3/"
_CHUNK_BYTES = 1 << 22

_digests: dict[tuple[str, str], str] = {}


def object_path(path: str | os.PathLike[str]) -> Path:
    """Return a path; of one that begins with ``s3://`` as GDAL has it. A Path has already made one slash of two."""
    text = os.fspath(path)
    for scheme in ("s3://", "s3:/"):
        if text.startswith(scheme):
            return Path(_GDAL + text.removeprefix(scheme).lstrip("/"))
    return Path(text)


def is_object(path: Path) -> bool:
    """Return True for a path in object storage."""
    return str(path).startswith(_GDAL)


def object_url(path: Path) -> str:
    """Return an object as users name it, ``s3://bucket/key``; another path as it is."""
    return f"s3://{str(path).removeprefix(_GDAL)}" if is_object(path) else str(path)


def object_names(folder: Path) -> list[str]:
    """Return the names of the objects directly in a folder, sorted; empty if there is none. Raises DataError."""
    with _faults(folder):
        return sorted(item["Key"].rpartition("/")[2] for item in _listed(folder, Delimiter="/"))


def object_text(path: Path, limit: int) -> str:
    """Return an object as text (UTF-8). Raises DataError if it is longer than ``limit`` bytes, or no text."""
    bucket, key = _place(path)
    with _faults(path):
        content: bytes = _client().get_object(Bucket=bucket, Key=key)["Body"].read(limit + 1)
    if len(content) > limit:
        raise DataError(f"{path} has more than {limit} bytes")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a text in UTF-8: {error.reason}") from error


def object_digest(path: Path) -> str:
    """Return the SHA-256 of an object, as of a file of the same content. It is read once in a process, while its tag holds."""
    bucket, key = _place(path)
    with _faults(path):
        answer = _client().get_object(Bucket=bucket, Key=key)
        known = str(path), str(answer["ETag"])
        if known not in _digests:
            digest = hashlib.sha256()
            for chunk in answer["Body"].iter_chunks(_CHUNK_BYTES):
                digest.update(chunk)
            _digests[known] = digest.hexdigest()
        answer["Body"].close()
    return _digests[known]


def put_object(path: Path, data: bytes) -> str:
    """Write an object, whole or not at all; return its mark (``object_marks``). Raises OutputError."""
    bucket, key = _place(path)
    with _write_faults(path):
        answer = _client().put_object(Bucket=bucket, Key=key, Body=data)
    return _mark(len(data), answer["ETag"])


def object_marks(folder: Path) -> dict[str, str]:
    """Return what tells the content of each object directly in a folder: its size and the tag that the storage gave it.

    The tag changes with the content; nothing is read. Raises DataError.
    """
    with _faults(folder):
        return {
            item["Key"].rpartition("/")[2]: _mark(item["Size"], item["ETag"]) for item in _listed(folder, Delimiter="/")
        }


def object_folders(folder: Path) -> list[str]:
    """Return the names of the folders directly in a folder, sorted. Raises DataError."""
    bucket, key = _place(folder)
    prefix = f"{key.rstrip('/')}/" if key else ""
    with _faults(folder):
        pages = _client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
        prefixes = [item["Prefix"] for page in pages for item in page.get("CommonPrefixes", ())]
    return sorted(name.removeprefix(prefix).rstrip("/") for name in prefixes)


def remove_objects(path: Path) -> None:
    """Remove an object, or all that are in a folder and below. Raises OutputError."""
    bucket, key = _place(path)
    with _write_faults(path):
        for name in [key, *(item["Key"] for item in _listed(path))]:
            _client().delete_object(Bucket=bucket, Key=name)


def _listed(folder: Path, **options: str) -> Iterator[Any]:
    bucket, key = _place(folder)
    prefix = f"{key.rstrip('/')}/" if key else ""
    for page in _client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, **options):
        yield from page.get("Contents", ())


def _mark(size: int, tag: str) -> str:
    return f"{size}-{tag.strip(chr(34))}"


def _place(path: Path) -> tuple[str, str]:
    bucket, _, key = str(path).removeprefix(_GDAL).partition("/")
    return bucket, key


@cache
def _client() -> Any:
    with needs_extra("object storage", "cluster"):
        import boto3
    return boto3.client("s3")


@contextmanager
def _faults(path: Path, verb: str = "read", kind: type[C2SegError] = DataError) -> Iterator[None]:
    try:
        yield
    except C2SegError:
        raise
    except Exception as error:  # botocore has a class for each service
        if type(error).__module__.split(".")[0] not in ("botocore", "boto3", "urllib3"):
            raise
        raise kind(f"cannot {verb} {path}: {one_line(error)}") from error


def _write_faults(path: Path) -> AbstractContextManager[None]:
    return _faults(path, "write", OutputError)
