"""Jobs for tests of crews: outside the tests' modules, so that little is imported in worker processes."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from c2seg.errors import DataError, MissingExtraError


@dataclass(frozen=True)
class Squares:
    """Squares numbers. A number in ``trouble`` does something first: once in all processes if it has a file name to note it.

    ``seconds`` are slept for each number; a file in ``started`` tells each start of the job.
    """

    trouble: dict[int, str]
    notes: Path | None = None
    seconds: float = 0.0
    started: Path | None = None

    @contextmanager
    def start(self):
        if self.started:
            (self.started / str(os.getpid())).touch()
        yield self.square

    def square(self, number):
        time.sleep(self.seconds)
        if number in self.trouble and self._first_time(number):
            TROUBLES[self.trouble[number]]()
        return number * number, os.getpid()

    def _first_time(self, number):
        if self.notes is None:
            return True
        try:
            (self.notes / f"trouble {number}").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


@dataclass(frozen=True)
class Blocks:
    """Gives results of many megabytes, so that a kill meets one on its way."""

    mebibytes: int

    @contextmanager
    def start(self):
        yield lambda number: bytes([number % 256]) * (self.mebibytes * 2**20)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def stall():
    os.kill(os.getpid(), signal.SIGSTOP)


def sleep():
    time.sleep(3600)


def refuse():
    raise DataError("band 7 is missing")


def lack():
    raise MissingExtraError("this", "train")


def break_down():
    raise ZeroDivisionError("a fault of ours")


def give_what_cannot_travel():
    class Local(Exception):
        pass

    raise Local("nobody can unpickle this")


def nothing():
    """What is noted in a file is enough."""


TROUBLES = {
    "note": nothing, "die": die, "stall": stall, "sleep": sleep, "refuse": refuse, "lack": lack, "break": break_down,
    "odd": give_what_cannot_travel,
}  # fmt: skip
