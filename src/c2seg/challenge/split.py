"""Split the tiles of a test set into a public and a private part.

Tiles that share pixels fall into one part, so that no public score counts a private pixel. Both parts get nearly their share
of every class: the groups with the largest part of a class come first, each to the side that keeps the squared deviations of
all classes small, and single groups change sides afterwards as long as that helps. Among equal groups chance decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from c2seg.errors import InputError
from c2seg.types import Window

__all__ = ["Part", "missing_classes", "overlapping", "split_tiles"]

Part = Literal["public", "private"]
_FLIPS = 500


def split_tiles(
    class_pixels: Mapping[int, np.ndarray],
    windows: Mapping[int, Window] | None,
    public_share: float,
    rng: np.random.Generator,
) -> dict[int, Part]:
    """Return the part of every tile, by number.

    ``class_pixels`` are int64 [K] by tile, ``windows`` the places of the tiles where they are known. ``public_share`` of the
    labeled pixels, in (0, 1], are public; 1: there is no private part. Raises InputError where a part has no labeled pixel.
    """
    if not 0 < public_share <= 1:
        raise InputError(f"`public_share` is above 0 and at most 1, found {public_share}")
    if public_share == 1:
        return dict.fromkeys(class_pixels, "public")
    groups = overlapping(windows) if windows else [[number] for number in class_pixels]
    order = rng.permutation(len(groups))
    groups = [groups[index] for index in order]
    pixels = np.array([sum(class_pixels[number] for number in group) for group in groups], np.int64)
    is_public = _stratified(pixels, public_share, rng)
    for name, chosen in (("public", is_public), ("private", ~is_public)):
        if not pixels[chosen].sum():
            raise InputError(
                f"`public_share`: no labeled pixel is {name}; cut smaller tiles, or make all tiles public with 1"
            )
    return {
        number: "public" if public else "private"
        for group, public in zip(groups, is_public, strict=True)
        for number in group
    }


def overlapping(windows: Mapping[int, Window]) -> list[list[int]]:
    """Return the tiles in groups that share no pixel with another group."""
    parent = {number: number for number in windows}

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = number = parent[parent[number]]
        return number

    side = max(max(window.height, window.width) for window in windows.values())
    cells: dict[tuple[int, int], list[int]] = {}
    for number, window in windows.items():
        row, col = window.row // side, window.col // side
        for key in ((r, c) for r in (row - 1, row, row + 1) for c in (col - 1, col, col + 1)):
            for neighbor in cells.get(key, ()):
                if not window.intersect(windows[neighbor]).is_empty:
                    parent[root(number)] = root(neighbor)
        cells.setdefault((row, col), []).append(number)
    groups: dict[int, list[int]] = {}
    for number in windows:
        groups.setdefault(root(number), []).append(number)
    return list(groups.values())


def _stratified(pixels: np.ndarray, public_share: float, rng: np.random.Generator) -> np.ndarray:
    """Return which groups are public, bool [G], for pixels by group and class, int64 [G, K]."""
    total = pixels.sum(0)
    shares = pixels[:, total > 0] / total[total > 0]
    is_public = rng.random(len(pixels)) < public_share  # what counts for groups without any label
    off = np.zeros(shares.shape[1])  # public share so far less what it should be, by class
    for group in np.argsort(-shares.max(1, initial=0), kind="stable"):
        added = shares[group]
        if added.any():
            is_public[group] = _norm(off + (1 - public_share) * added) < _norm(off - public_share * added)
            off += (is_public[group] - public_share) * added
    return _flipped(is_public, shares, off)


def _flipped(is_public: np.ndarray, shares: np.ndarray, off: np.ndarray) -> np.ndarray:
    """Move single groups to the other part as long as that makes the shares better."""
    for _ in range(_FLIPS):
        moves = np.where(is_public, -1, 1)[:, None] * shares
        norms = np.square(off + moves).sum(1)
        best = int(norms.argmin())
        if norms[best] >= _norm(off) - 1e-12:
            break
        off = off + moves[best]
        is_public[best] ^= True
    return is_public


def _norm(off: np.ndarray) -> float:
    return float(np.square(off).sum())


def missing_classes(
    class_pixels: Mapping[int, np.ndarray], parts: Mapping[int, Part], ids: Sequence[int]
) -> dict[Part, list[int]]:
    """Return the class ids that the test set has and a part has not, by part."""
    missing: dict[Part, list[int]] = {}
    total = sum(class_pixels.values())
    for part in set(parts.values()):
        there = sum(class_pixels[number] for number, name in parts.items() if name == part)
        missing[part] = [ids[int(k)] for k in np.flatnonzero((np.asarray(total) > 0) & (np.asarray(there) == 0))]
    return {part: classes for part, classes in missing.items() if classes}
