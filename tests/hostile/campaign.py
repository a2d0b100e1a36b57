"""Give many hostile inputs of a kind to c2seg, in a child process that may hang, crash or grow, and count what happened.

An input is determined by its kind, a seed and its number: ``python -m hostile.campaign KIND SEED NUMBER`` repeats one.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import c2seg

__all__ = ["Child", "Tally", "campaign"]

TESTS = Path(__file__).parents[1]
PROCESSOR_S = 10
"""Of one input; an alarm ends it."""
WALL_S = 60
"""Of one input that is deaf to the alarm, or waits: the child is killed."""
OUTCOMES = ("refused", "accepted", "tracebacks", "hangs", "blow_ups", "crashes", "outside")


@dataclass
class Tally:
    """What became of inputs of a kind. Only ``refused`` (one clear line) and ``accepted`` are right."""

    kind: str
    inputs: int = 0
    refused: int = 0
    accepted: int = 0
    tracebacks: int = 0
    hangs: int = 0
    blow_ups: int = 0
    """Memory beyond the limit."""
    crashes: int = 0
    """The process died."""
    outside: int = 0
    """Something was written beside the input's folder, or a file changed that was only to be read."""
    examples: list[str] = field(default_factory=list)
    """What went wrong, with the number of the input."""

    @property
    def faults(self) -> int:
        """Inputs that were neither refused nor accepted."""
        return self.inputs - self.refused - self.accepted

    def add(self, number: int, outcome: str, text: str) -> None:
        """Count an input."""
        self.inputs += 1
        setattr(self, outcome, getattr(self, outcome) + 1)
        if outcome not in ("refused", "accepted"):
            self.examples.append(f"{self.kind} {number}: {outcome}: {text}")


class Child:
    """A process that tries inputs one after the other (``hostile.child``); it is started anew after it died."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def outcome(self, kind: str, seed: int, number: int) -> tuple[str, str]:
        """Return what became of an input, and details."""
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps([kind, seed, number]) + "\n")
            process.stdin.flush()
            if not select.select([process.stdout], [], [], WALL_S)[0]:
                self._end()
                return "hangs", f"no answer within {WALL_S} s; killed"
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if line:
            outcome, text = json.loads(line)
            return outcome, text
        code = process.wait()
        self._end()
        return "crashes", f"the process ended with {code}"

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            source = str(Path(c2seg.__file__).parents[1])
            self._process = subprocess.Popen(
                [sys.executable, "-m", "hostile.child", str(self.folder), source, str(PROCESSOR_S)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=TESTS,
            )  # fmt: skip
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def campaign(
    kind: str,
    count: int,
    seed: int = 0,
    *,
    child: Child | None = None,
    progress: Callable[[Tally], None] = lambda _: None,
) -> Tally:
    """Try ``count`` inputs of a kind (``hostile.kinds.KINDS``) and return the tally. ``child`` may serve several kinds."""
    if child is None:
        with tempfile.TemporaryDirectory() as folder, Child(Path(folder)) as own:
            return campaign(kind, count, seed, child=own, progress=progress)
    tally = Tally(kind)
    for number in range(count):
        tally.add(number, *child.outcome(kind, seed, number))
        progress(tally)
    return tally


def _main() -> None:
    """``KIND SEED NUMBER``: repeat one input here, with its traceback. ``KIND|all COUNT``: a campaign."""
    from hostile.kinds import KINDS, attempt

    if len(sys.argv) == 4:
        with tempfile.TemporaryDirectory() as folder:
            print(attempt(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(folder), show=True))
        return
    with tempfile.TemporaryDirectory() as folder, Child(Path(folder)) as child:
        for kind in KINDS if sys.argv[1] == "all" else sys.argv[1].split(","):
            tally = campaign(kind, int(sys.argv[2]), child=child)
            print({**vars(tally), "examples": len(tally.examples)}, flush=True)
            print(*tally.examples[:12], sep="\n", flush=True)


if __name__ == "__main__":
    _main()
