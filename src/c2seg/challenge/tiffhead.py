"""Check the header of a submitted TIFF before any library decodes it (TIFF 6.0, Adobe 1992, section 2).

A prediction tile needs very little of the format: one image, one band of 8-bit unsigned values, strips or tiles inside
the file, a common lossless compression. Everything else is refused, so that the decoder meets only plain files.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from c2seg.challenge.rules import SubmissionError

__all__ = ["check_header"]

_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_INTEGER_CODE = {1: "B", 3: "H", 4: "I"}
WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES = 273, 277, 278, 279
TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_BYTES, SAMPLE_FORMAT = 322, 323, 324, 325, 339
GDAL_METADATA = 42112
# Descriptive tags, resolution, color table, predictor, GeoTIFF keys, GDAL's nodata: harmless, and common.
_HARMLESS = {254, 266, 269, 270, 274, 280, 281, 282, 283, 284, 285, 296, 297, 305, 306, 315, 316, 317, 320, 338}
_HARMLESS |= {33432, 33550, 33922, 34264, 34735, 34736, 34737, 42113}
_KNOWN = _HARMLESS | {WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP}
_KNOWN |= {STRIP_BYTES, TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_BYTES, SAMPLE_FORMAT, GDAL_METADATA}
_COMPRESSIONS = {1: "none", 5: "LZW", 8: "deflate", 32773: "PackBits", 32946: "deflate", 50000: "ZSTD"}
_MAX_BLOCK_PX = 1024
# What makes GDAL look elsewhere: other files, virtual rasters, the network.
_REFERENCES = (b"/vsi", b"<vrt", b"overview_file", b"://", b"sourcefilename", b"mask_band")


def check_header(data: bytes, height: int, width: int) -> None:
    """Raise SubmissionError unless ``data`` is a plain one-band uint8 TIFF of this size whose blocks lie inside it."""
    order, entries = _directory(data)
    unknown = sorted(set(entries) - _KNOWN)
    if unknown:
        raise SubmissionError(f"it has the TIFF tag {unknown[0]}, which a prediction does not need; write it plainly")
    for tag, (_, values) in entries.items():
        low = values.lower()
        references = _REFERENCES if tag == GDAL_METADATA else _REFERENCES[:3]
        if any(reference in low for reference in references):
            raise SubmissionError(f"its TIFF tag {tag} refers to another file")
    size = (_one(order, entries, LENGTH), _one(order, entries, WIDTH))
    if size != (height, width):
        raise SubmissionError(f"it is {size[0]} x {size[1]} pixels; the tile is {height} x {width}")
    for tag, name, default, allowed in (
        (SAMPLES, "bands", 1, {1}),
        (BITS, "bits per value", 1, {8}),
        (SAMPLE_FORMAT, "as sample format", 1, {1}),
        (PHOTOMETRIC, "as photometric interpretation", 1, {1, 3}),
        (COMPRESSION, "as compression", 1, set(_COMPRESSIONS)),
        (254, "as subfile type", 0, {0}),
    ):
        value = _one(order, entries, tag, default)
        if value not in allowed:
            raise SubmissionError(f"it has {value} {name}; one band of uint8 is expected ({sorted(allowed)})")
    _check_blocks(order, entries, height, width, len(data))


def _directory(data: bytes) -> tuple[str, dict[int, tuple[int, bytes]]]:
    """Return the byte order and type and raw value bytes by tag of the only directory."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None or len(data) < 14:
        raise SubmissionError("it is no TIFF" + (" (BigTIFF is not needed)" if data[2:4] in (b"+\0", b"\0+") else ""))
    (start,) = struct.unpack_from(order + "I", data, 4)
    if start < 8 or start + 2 > len(data):
        raise SubmissionError("it is truncated: no TIFF directory")
    (count,) = struct.unpack_from(order + "H", data, start)
    end = start + 2 + 12 * count
    if end + 4 > len(data):
        raise SubmissionError("it is truncated inside the TIFF directory")
    if struct.unpack_from(order + "I", data, end)[0]:
        raise SubmissionError("it holds more than one image (overviews and masks are not needed)")
    entries: dict[int, tuple[int, bytes]] = {}
    for position in range(start + 2, end, 12):
        tag, kind, number = struct.unpack_from(order + "HHI", data, position)
        size = _TYPE_BYTES.get(kind, 0) * number
        at = position + 8 if size <= 4 else struct.unpack_from(order + "I", data, position + 8)[0]
        if tag in entries or not size or at + size > len(data):
            raise SubmissionError(f"its TIFF tag {tag} is damaged")
        entries[tag] = (kind, data[at : at + size])
    return order, entries


def _check_blocks(
    order: str, entries: Mapping[int, tuple[int, bytes]], height: int, width: int, file_bytes: int
) -> None:
    if TILE_OFFSETS in entries:
        high, wide = _one(order, entries, TILE_LENGTH), _one(order, entries, TILE_WIDTH)
        if not (0 < high <= _MAX_BLOCK_PX and 0 < wide <= _MAX_BLOCK_PX):
            raise SubmissionError(f"its internal blocks are {high} x {wide}; at most {_MAX_BLOCK_PX} is allowed")
        blocks, tags = -(-height // high) * -(-width // wide), (TILE_OFFSETS, TILE_BYTES)
    else:
        rows = min(_one(order, entries, ROWS_PER_STRIP, height), height)
        if rows < 1:
            raise SubmissionError("its strips have no rows")
        blocks, tags = -(-height // rows), (STRIP_OFFSETS, STRIP_BYTES)
    offsets, sizes = (_integers(order, entries, tag) for tag in tags)
    if len(offsets) != blocks or len(sizes) != blocks:
        raise SubmissionError(f"it needs {blocks} blocks and lists {len(offsets)} and {len(sizes)}")
    if any(size < 1 or offset < 8 or offset + size > file_bytes for offset, size in zip(offsets, sizes, strict=True)):
        raise SubmissionError("it is truncated: a block lies outside the file")


def _integers(order: str, entries: Mapping[int, tuple[int, bytes]], tag: int) -> tuple[int, ...]:
    kind, raw = entries.get(tag, (0, b""))
    if kind not in _INTEGER_CODE:
        raise SubmissionError(f"its TIFF tag {tag} is missing or not of integers")
    return struct.unpack(f"{order}{len(raw) // _TYPE_BYTES[kind]}{_INTEGER_CODE[kind]}", raw)


def _one(order: str, entries: Mapping[int, tuple[int, bytes]], tag: int, default: int | None = None) -> int:
    if tag not in entries and default is not None:
        return default
    return _integers(order, entries, tag)[0]
