"""Checksums of unfinished work: what was changed on disk in the meantime is noticed, and computed again.

CRC-32 finds every change within 32 neighboring bits, and misses one in 4 billion of all others. Of what Python brings along
it is the fastest on processors of any kind (``benchmarks/checksums.py``). It is no protection against somebody who forges.
"""

from __future__ import annotations

import json
import zlib
from typing import Any

import numpy as np

__all__ = ["checksum", "json_checksum"]


def checksum(values: np.ndarray | bytes, before: int = 0) -> int:
    """Return the CRC-32 of an array's bytes in C order, or of bytes; ``before``: that of what comes before them."""
    if isinstance(values, np.ndarray):
        return zlib.crc32(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data, before)
    return zlib.crc32(values, before)


def json_checksum(content: Any, before: int = 0) -> int:
    """Return the CRC-32 of plain values as JSON, whatever the order of keys."""
    return checksum(json.dumps(content, sort_keys=True, allow_nan=False).encode(), before)
