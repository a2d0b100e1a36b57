"""Files in object storage (S3 and what speaks like it), read in place.

Users name them ``s3://bucket/key``; inside they are paths as GDAL has them, ``/vsis3/bucket/key``. GDAL reads pixels, boto3
lists folders and reads whole objects; each finds credentials and endpoint as it always does (environment, profile, instance).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from c2seg.errors import C2SegError, DataError, needs_extra, one_line

__all__ = ["is_object", "object_digest", "object_names", "object_path", "object_text"]

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


def object_names(folder: Path) -> list[str]:
    """Return the names of the objects directly in a folder, sorted; empty if there is none. Raises DataError."""
    bucket, key = _place(folder)
    prefix = f"{key.rstrip('/')}/" if key else ""
    with _faults(folder):
        pages = _client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
        return sorted(item["Key"].removeprefix(prefix) for page in pages for item in page.get("Contents", ()))


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


def _place(path: Path) -> tuple[str, str]:
    bucket, _, key = str(path).removeprefix(_GDAL).partition("/")
    return bucket, key


@cache
def _client() -> Any:
    with needs_extra("object storage", "cluster"):
        import boto3
    return boto3.client("s3")


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    try:
        yield
    except C2SegError:
        raise
    except Exception as error:  # botocore has a class for each service
        if type(error).__module__.split(".")[0] not in ("botocore", "boto3", "urllib3"):
            raise
        raise DataError(f"cannot read {path}: {one_line(error)}") from error
