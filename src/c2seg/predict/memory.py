"""What the C library does with memory that was freed."""

from __future__ import annotations

import ctypes
import os

__all__ = ["keep_freed_memory", "return_freed_memory"]

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # names of glibc's mallopt, from malloc.h
_KEPT_BYTES = 256 * 2**20


def keep_freed_memory() -> None:
    """Let this process take freed memory again instead of new pages; other C libraries than glibc are left alone.

    A map takes and frees the same arrays of many megabytes for every window. By default glibc returns each to the system and
    gets it back as pages that are to be zeroed: a tenth of the time of a network in torch at 32 bits. From now on all
    threads share one heap, of which up to 256 MiB of free memory at its end are kept. Nothing is changed where the
    environment sets ``MALLOC_...`` or ``GLIBC_TUNABLES``.
    """
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    for name, value in ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _KEPT_BYTES)):
        mallopt(name, value)


def return_freed_memory() -> None:
    """Give memory that was freed and kept back to the system, where the C library is glibc."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return
    trim(0)
