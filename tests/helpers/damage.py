"""Damage to files as disks, crashes and editors do it, drawn at random."""

from __future__ import annotations

from pathlib import Path

import numpy as np

__all__ = ["DAMAGES", "damage"]

DAMAGES = ("bit", "digit", "zeros", "truncated", "longer", "swapped", "deleted", "empty")


def damage(path: Path, kind: str, rng: np.random.Generator) -> None:
    """Change a file in the way ``kind`` says, at a random place."""
    data = bytearray(path.read_bytes())
    place = int(rng.integers(len(data)))
    if kind == "bit":
        data[place] ^= 1 << int(rng.integers(8))
    elif kind == "digit":
        digits = [index for index, value in enumerate(data) if 48 <= value < 58] or [place]
        place = int(rng.choice(digits))
        data[place] = 48 + (data[place] - 48 + int(rng.integers(1, 10))) % 10
    elif kind == "zeros":
        data[place : place + 512] = bytes(len(data[place : place + 512]))
    elif kind == "truncated":
        del data[place:]
    elif kind == "longer":
        data += rng.bytes(40)
    elif kind == "swapped":
        half = len(data) // 2
        data = data[half:] + data[:half]
    elif kind == "empty":
        data = bytearray()
    path.unlink()
    if kind != "deleted":
        path.write_bytes(data)
