"""The process in which hostile inputs are tried: a line ``[kind, seed, number]`` in, a line ``[outcome, details]`` out."""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path

ROOM = 3 << 30
"""Bytes that the process may take beyond what its imports took."""


def main() -> None:
    folder, source, seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    sys.path.insert(0, source)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what commands print is not an answer
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    from hostile.kinds import attempt

    for line in sys.stdin:
        kind, seed, number = json.loads(line)
        try:
            answer = attempt(kind, seed, number, folder, seconds=seconds, prepared=limit_memory)
        except Exception as error:  # of the campaign itself
            answer = "crashes", f"the input could not be made: {error!r}"
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def limit_memory() -> None:
    """Bound the address space by what it is now and some room."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ROOM, most))


if __name__ == "__main__":
    main()
