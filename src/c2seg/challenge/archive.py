"""Read the tiles of a submitted zip without trusting what it says about itself."""

from __future__ import annotations

import re
import stat
import struct
import zipfile
from collections.abc import Iterator
from typing import BinaryIO

from c2seg.challenge.rules import SubmissionError, TileSet, file_name

__all__ = ["read_tiles"]

_NAME = re.compile(r"(0|[1-9][0-9]{0,6})_prediction\.tif")
_ENCRYPTED = 0x1
_END_BYTES = 22


def read_tiles(stream: BinaryIO, tile_set: TileSet) -> Iterator[tuple[int, bytes]]:
    """Yield number and bytes of every tile of a zip in the order of the test set.

    All names are checked before the first byte is unpacked; no file of it is ever written to disk or unpacked beyond the
    size its tile may have. Raises SubmissionError for anything but exactly the expected files (names without folders,
    stored or deflated, neither links nor encrypted, no comment, no zip64); the zipfile module's own errors pass through.
    """
    _check_end(stream, tile_set)
    with zipfile.ZipFile(stream) as archive:
        infos: dict[int, zipfile.ZipInfo] = {}
        for info in archive.infolist():
            number = _number(info)
            if number not in tile_set.sizes:
                raise SubmissionError(f"{file_name(number)} is not a tile of the test set")
            if number in infos:
                raise SubmissionError(f"{file_name(number)} is there twice")
            infos[number] = info
        missing = [n for n in tile_set.sizes if n not in infos]
        if missing:
            raise SubmissionError(f"{file_name(missing[0])} is missing ({len(missing)} of {len(tile_set.sizes)} are)")
        for number, (height, width) in tile_set.sizes.items():
            yield number, _unpack(archive, infos[number], height * width + 65536)


def _check_end(stream: BinaryIO, tile_set: TileSet) -> None:
    """Check size and end record before zipfile loads a directory that might be huge."""
    size = stream.seek(0, 2)
    if size > tile_set.max_archive_bytes:
        raise SubmissionError(f"the archive has {size} bytes; at most {tile_set.max_archive_bytes} are allowed")
    stream.seek(max(0, size - _END_BYTES))
    end = stream.read(_END_BYTES)
    if len(end) < _END_BYTES or end[:4] != b"PK\x05\x06":
        raise SubmissionError("this is no zip file, is truncated, or carries a comment; pack it again")
    disks, on_disk, count, directory_bytes = struct.unpack("<4xHxxHHI", end[:16])
    if disks or on_disk != count or count == 0xFFFF or directory_bytes == 0xFFFFFFFF:
        raise SubmissionError("the archive is split or zip64; one plain zip file is expected")
    if count != len(tile_set.sizes):
        raise SubmissionError(f"the archive holds {count} files; {len(tile_set.sizes)} are expected")
    if directory_bytes > 1024 * count:
        raise SubmissionError("the archive's directory is larger than its files need")
    stream.seek(0)


def _number(info: zipfile.ZipInfo) -> int:
    shown = ascii(info.orig_filename)[:80]
    match = _NAME.fullmatch(info.orig_filename)
    if not match:
        raise SubmissionError(f"the archive holds {shown}; only files N_prediction.tif without a folder are allowed")
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG) or info.is_dir():
        raise SubmissionError(f"{shown} is a link or a special file")
    if info.flag_bits & _ENCRYPTED:
        raise SubmissionError(f"{shown} is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise SubmissionError(f"{shown} is neither stored nor deflated (compression method {info.compress_type})")
    return int(match[1])


def _unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int) -> bytes:
    too_large = SubmissionError(f"{ascii(info.filename)[1:-1]} unpacks to more than the {limit} bytes a tile may have")
    if info.file_size > limit:
        raise too_large
    with archive.open(info) as member:
        data = member.read(limit + 1)
    if len(data) > limit:
        raise too_large
    return data
