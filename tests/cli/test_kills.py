"""Every command, killed at every call of the file system and on full disks: nothing is lost, and it runs again.

Run by a process of its own, since it forks; see ``helpers/killing.py``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import c2seg
from helpers import killing

SOURCES = str(Path(c2seg.__file__).parents[1])


def tried(*arguments):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": SOURCES}
    done = subprocess.run(
        [sys.executable, killing.__file__, *arguments], capture_output=True, text=True, env=environment, check=True
    )
    return json.loads(done.stdout)


def check(counts):
    for name, rows in counts.items():
        for what, row in rows.items():
            assert row["faults"] == [], f"{name}, {what}"
            assert row["held"] == row["tried"]
    assert all(rows["killed"]["tried"] for rows in counts.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(killing.COMMANDS))
def test_kills_at_every_call(name):
    check(tried("1", name))
