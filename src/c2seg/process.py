"""Settings of a whole process. Commands and worker processes of c2seg apply them; the library never does.

Importing c2seg changes nothing in the environment, signals, memory or threads of a process. Programs that own their process
may call ``set_up`` at the start, as the commands do.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from typing import Any

__all__ = [
    "is_first",
    "keep_freed_memory",
    "peak_memory_mib",
    "processes",
    "return_freed_memory",
    "set_up",
    "stop_on_sigterm",
    "stops_by_interrupt",
]

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # names of glibc's mallopt, from malloc.h
_TRIM_THRESHOLD_BYTES = 256 * 2**20


def set_up() -> None:
    """Set environment variables of this process before torch and GDAL are loaded. Existing values are not changed.

    Waiting threads do not spin (``OMP_WAIT_POLICY``): with few cores they would slow down other processes. GDAL caches 64 MiB
    of decoded blocks instead of 5 % of the machine's memory (``GDAL_CACHEMAX``), and prints no warnings (``CPL_LOG``): what
    matters of them is an error of c2seg.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GDAL_CACHEMAX", "64")
    os.environ.setdefault("CPL_LOG", os.devnull)


def keep_freed_memory() -> None:
    """Let this process reuse freed memory instead of requesting new pages. Only glibc is supported; others do not change.

    Prediction allocates and frees the same large arrays for every window. By default glibc returns each array to the system
    and requests new zeroed pages. This takes a tenth of the time of a float32 network in torch. After this call all threads
    share one heap, which keeps up to 256 MiB of free memory. Threads started earlier keep their own heaps. Nothing changes if
    the environment sets ``MALLOC_...`` or ``GLIBC_TUNABLES``.
    """
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    for name, value in ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _TRIM_THRESHOLD_BYTES)):
        mallopt(name, value)


def stop_on_sigterm() -> Any:
    """Make SIGTERM raise KeyboardInterrupt like Ctrl-C, so that temporary files are removed and states are written.

    Returns the former handler. Outside the main thread it changes nothing and returns None.
    """
    try:
        return signal.signal(signal.SIGTERM, _interrupt)
    except ValueError:
        return None


def _interrupt(number: int, _frame: object) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


def stops_by_interrupt(number: int) -> bool:
    """Return True if the handler of a signal is Python's Ctrl-C handler or one of c2seg."""
    handler = signal.getsignal(number)
    return handler is signal.default_int_handler or str(getattr(handler, "__module__", "")).startswith("c2seg.")


def processes() -> int:
    """Return the number of processes of a distributed run (torchrun); 1 otherwise."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Return True in the process (rank 0) that writes files and reports progress."""
    return os.environ.get("RANK", "0") == "0"


def return_freed_memory() -> None:
    """Give memory that was freed and kept back to the system, where the C library is glibc. No setting is changed."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return
    trim(0)


def peak_memory_mib() -> float:
    """Return the largest resident memory of this process so far, MiB."""
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1024
    except (OSError, StopIteration):  # getrusage also counts the memory of the process that started this one
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
