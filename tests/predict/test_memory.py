"""Memory that was freed is taken again."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import resource
import threading
import numpy as np
from c2seg.process import keep_freed_memory

def work():
    for _ in range(40):
        np.empty(16 * 2**20, np.uint8).fill(1)

keep_freed_memory()
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
thread = threading.Thread(target=work)
thread.start()
thread.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(**environment: str) -> int:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True,
        env=plain | {"NUMPY_MADVISE_HUGEPAGE": "0"} | environment,
    )  # fmt: skip
    return int(done.stdout)


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="not glibc")
def test_freed_memory_is_taken_again_by_all_threads():
    assert faults() < 16 * 2**20 / 4096 / 4  # far fewer than the pages of one array


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="not glibc")
def test_settings_of_the_environment_stand():
    # Every array comes from the system.
    assert faults(MALLOC_MMAP_THRESHOLD_="1000000") >= 40 * 16 * 2**20 / os.sysconf("SC_PAGE_SIZE") / 4
