"""What a stopped command says: how its work is resumed."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Sequence
from pathlib import Path

__all__ = ["how_to_resume"]

_SAME_AGAIN = {"predict", "prepare", "benchmark"}
_STATES = ("state.safetensors", "state.pt")


def how_to_resume(command: str | None, arguments: Sequence[str]) -> str:
    """Return how the work of a command that was stopped is resumed, to follow "stopped"; empty if there is nothing to say."""
    if command in _SAME_AGAIN:
        return f"; resume with the same command: {_line(arguments)}"
    if command != "fit":
        return ""
    if _has_state(arguments):
        more = [] if "--resume" in arguments else ["--resume"]
        return f"; resume with: {_line([*arguments, *more])}"
    return "; no network had a state to resume from: run the command again"


def _line(arguments: Sequence[str]) -> str:
    return shlex.join(("c2seg", *arguments))


def _has_state(arguments: Sequence[str]) -> bool:
    """Return whether the run folder that the arguments name holds the state of a training."""
    values = [after for option, after in itertools.pairwise(arguments) if option == "--out"]
    values += [text.partition("=")[2] for text in arguments if text.startswith("--out=")]
    return any(path for value in values for name in _STATES for path in Path(value).rglob(name))
