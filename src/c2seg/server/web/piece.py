"""One piece of an upload on its way to disk."""

from __future__ import annotations

import hashlib
import os

from c2seg.server.web.tus import CHECKSUM_MISMATCH, Checksum, TusError

__all__ = ["Piece"]

_EVERY_BYTES = 8 * 2**20
"""After which a long piece without a checksum is made safe, so that a crash loses no more."""


class Piece:
    """Writes bytes from ``offset`` on. ``close`` decides whether they count; what is not closed does not, bar safe parts."""

    def __init__(self, descriptor: int, offsets: int, offset: int, length: int, checksum: Checksum | None) -> None:
        self._descriptor, self._offsets, self._checksum = descriptor, offsets, checksum
        self._start = self._end = self._safe = offset
        self._length = length
        self._digest = None if checksum is None else hashlib.new(checksum.algorithm)

    @property
    def offset(self) -> int:
        """Bytes of the upload that are safe on disk."""
        return self._safe

    def write(self, data: bytes) -> None:
        """Append bytes. Raises TusError (413) for more than the upload has, OSError for a disk that does not take them."""
        if self._end + len(data) > self._length:
            raise TusError(413, "the piece is longer than the rest of the upload")
        view = memoryview(data)
        while view:
            done = os.pwrite(self._descriptor, view, self._end)
            self._end += done
            view = view[done:]
        if self._digest is not None:
            self._digest.update(data)
        elif self._end - self._safe >= _EVERY_BYTES:
            self._make_safe()

    def close(self, *, whole: bool) -> None:
        """Let the bytes count: those of a ``whole`` piece if its checksum is right, those of a part if it has none.

        Raises TusError (460) for a checksum that is wrong; nothing of the piece counts then.
        """
        if self._digest is not None and self._checksum is not None:
            if not whole:
                return
            if not self._checksum.matches(self._digest.digest()):
                raise TusError(CHECKSUM_MISMATCH, "Upload-Checksum: the piece has another checksum; send it again")
        self._make_safe()

    def _make_safe(self) -> None:
        if self._end == self._safe:
            return
        os.fsync(self._descriptor)
        os.pwrite(self._offsets, b"%015d\n" % self._end, 0)
        os.fsync(self._offsets)
        self._safe = self._end
