"""The protocol of resumable uploads, tus 1.0.0: what its headers say. https://tus.io/protocols/resumable-upload

Extensions: creation, creation-with-upload, termination, checksum, expiration.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

__all__ = [
    "ALGORITHMS",
    "CHECKSUM_MISMATCH",
    "CONTENT_TYPE",
    "VERSION",
    "Checksum",
    "TusError",
    "creation",
    "offset_of",
]

VERSION = "1.0.0"
CONTENT_TYPE = "application/offset+octet-stream"
ALGORITHMS = ("sha256", "sha1")
CHECKSUM_MISMATCH = 460
_MAX_METADATA = 4096
_MAX_DIGITS = 15


class TusError(Exception):
    """A request breaks the protocol; ``status`` is the answer's."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Creation:
    """What a client wants to upload: bytes in all, and its metadata as texts."""

    length: int
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Checksum:
    """The digest that a piece must have."""

    algorithm: str
    digest: bytes

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Checksum | None:
        """Return the checksum of a request, None where it has none. Raises TusError (400) for one that is not readable."""
        text = headers.get("upload-checksum")
        if text is None:
            return None
        algorithm, _, encoded = text.partition(" ")
        if algorithm not in ALGORITHMS:
            raise TusError(400, f"Upload-Checksum: the algorithms are {', '.join(ALGORITHMS)}")
        return cls(algorithm, _base64(encoded, "Upload-Checksum"))

    def matches(self, digest: bytes) -> bool:
        """Compare with the digest of what came."""
        return hmac.compare_digest(self.digest, digest)


def check_version(headers: Mapping[str, str]) -> None:
    """Raise TusError (412) unless the client speaks this version."""
    if headers.get("tus-resumable") != VERSION:
        raise TusError(412, f"Tus-Resumable must be {VERSION}")


def creation(headers: Mapping[str, str], most_bytes: int) -> Creation:
    """Read the headers of a request that creates an upload.

    Raises TusError: 400 for a length that is missing, deferred or no number and for metadata that is not readable, 413 for
    more than ``most_bytes``.
    """
    length = _number(headers, "upload-length", "Upload-Length")
    if length > most_bytes:
        raise TusError(413, f"Upload-Length: at most {most_bytes} bytes are allowed")
    if length == 0:
        raise TusError(400, "Upload-Length: an archive is not empty")
    return Creation(length, _metadata(headers.get("upload-metadata", "")))


def offset_of(headers: Mapping[str, str]) -> int:
    """Return where a piece begins. Raises TusError: 415 for another content type, 400 for no number."""
    if headers.get("content-type") != CONTENT_TYPE:
        raise TusError(415, f"Content-Type must be {CONTENT_TYPE}")
    return _number(headers, "upload-offset", "Upload-Offset")


def expires(at: float) -> str:
    """Return a time (seconds since 1970) as ``Upload-Expires`` writes it (RFC 9110)."""
    return format_datetime(datetime.fromtimestamp(at, UTC), usegmt=True)


def options(most_bytes: int) -> dict[str, str]:
    """Return the headers that say what the server can do."""
    return {
        "Tus-Resumable": VERSION,
        "Tus-Version": VERSION,
        "Tus-Extension": "creation,creation-with-upload,termination,checksum,expiration",
        "Tus-Max-Size": str(most_bytes),
        "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
    }


def _number(headers: Mapping[str, str], name: str, shown: str) -> int:
    text = headers.get(name)
    if text is None:
        raise TusError(400, f"{shown} is missing")
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise TusError(400, f"{shown} is no number of bytes")
    return int(text)


def _metadata(text: str) -> dict[str, str]:
    """Read ``key base64,key base64``: keys are ASCII without spaces and commas, and come once; a value may be missing."""
    if len(text) > _MAX_METADATA:
        raise TusError(400, f"Upload-Metadata is longer than {_MAX_METADATA} characters")
    metadata: dict[str, str] = {}
    for pair in text.split(",") if text.strip() else []:
        key, _, encoded = pair.strip().partition(" ")
        if not key or not key.isascii() or key in metadata:
            raise TusError(400, "Upload-Metadata: a key is empty, not ASCII or there twice")
        try:
            metadata[key] = _base64(encoded, "Upload-Metadata").decode()
        except UnicodeDecodeError:
            raise TusError(400, f"Upload-Metadata: the value of {ascii(key)[1:-1][:40]} is not UTF-8") from None
    return metadata


def _base64(encoded: str, shown: str) -> bytes:
    try:
        return base64.b64decode(encoded.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeError):
        raise TusError(400, f"{shown}: a value is not base64") from None
