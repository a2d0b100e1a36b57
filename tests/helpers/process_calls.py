"""What processes are asked to call in tests: outside the tests' modules, so that little is imported there."""

from __future__ import annotations

import os
import time

from c2seg.errors import DataError

THREADS = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "LOKY_MAX_CPU_COUNT")


def add(first, second):
    return first + second, os.getpid()


def kill_itself(number):
    os.kill(os.getpid(), number)


def print_and_exit():
    print("the library prints what it likes")
    os._exit(3)


def raise_input_error():
    raise DataError("band 7 is missing")


def raise_internal_error():
    return {}["nothing"]


def threads_of_libraries():
    import numpy  # noqa: F401
    from threadpoolctl import threadpool_info

    return {item["num_threads"] for item in threadpool_info()}, {name: os.environ.get(name) for name in THREADS}


def memory_after(mebibytes):
    import numpy as np

    from c2seg.process import peak_memory_mib

    held = np.ones(mebibytes * 2**20, np.uint8)
    return peak_memory_mib(), int(held[-1])


def wait_until_stopped(started, written):
    """Wait as a training does, and write a state when stopped."""
    try:
        open(started, "w").close()
        while True:
            time.sleep(0.01)
    except KeyboardInterrupt:
        with open(written, "w") as file:
            file.write("state")
        raise
