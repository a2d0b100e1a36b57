"""Settings of a whole process: commands and our own worker processes make them, the library never does.

Who imports c2seg keeps the environment, signals, memory and threads that the process had. Who has a process to spare may call
``set_up`` at its start, as the commands do.
"""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Any

__all__ = ["is_first", "keep_freed_memory", "processes", "set_up", "stop_on_sigterm", "stops_by_interrupt"]

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # names of glibc's mallopt, from malloc.h
_KEPT_BYTES = 256 * 2**20


def set_up() -> None:
    """Set the environment of this process, before torch and GDAL are loaded; what is set already stands.

    Threads that wait do not spin (``OMP_WAIT_POLICY``): on few cores they would starve other processes. GDAL keeps 64 MiB of
    decoded blocks in the place of 5 % of the machine's memory (``GDAL_CACHEMAX``).
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GDAL_CACHEMAX", "64")


def keep_freed_memory() -> None:
    """Let this process take freed memory again instead of new pages; other C libraries than glibc are left alone.

    A map takes and frees the same arrays of many megabytes for every window. By default glibc returns each to the system and
    gets it back as pages that are to be zeroed: a tenth of the time of a network in torch at 32 bits. From now on all
    threads share one heap, of which up to 256 MiB of free memory at its end are kept; threads that began before keep a heap of
    their own. Nothing is changed where the environment sets ``MALLOC_...`` or ``GLIBC_TUNABLES``.
    """
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    for name, value in ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _KEPT_BYTES)):
        mallopt(name, value)


def stop_on_sigterm() -> Any:
    """Let SIGTERM unwind the stack like Ctrl-C, so that temporary files are removed and states written.

    Returns the former handler; None outside the main thread, where nothing is changed.
    """
    try:
        return signal.signal(signal.SIGTERM, _interrupt)
    except ValueError:
        return None


def _interrupt(number: int, _frame: object) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


def stops_by_interrupt(number: int) -> bool:
    """Return True if a signal is answered by Python's own handler of Ctrl-C or by one of c2seg, not by somebody else's."""
    handler = signal.getsignal(number)
    return handler is signal.default_int_handler or str(getattr(handler, "__module__", "")).startswith("c2seg.")


def processes() -> int:
    """Return how many processes compute together: several when torchrun started them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Return True in the one of these processes that writes and talks."""
    return os.environ.get("RANK", "0") == "0"
