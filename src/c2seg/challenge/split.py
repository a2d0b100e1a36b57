"""Split the tiles of a test set into a public and a private part.

Tiles that share pixels fall into one part, so that no public score counts a private pixel. Parts get nearly equal shares of
every class by iterative stratification (Sechidis et al., ECML PKDD 2011), here with pixels in place of examples: the rarest
class first, its largest group to the part that lacks most of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from c2seg.errors import InputError
from c2seg.types import Window

__all__ = ["Part", "missing_classes", "overlapping", "split_tiles"]

Part = Literal["public", "private"]


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
    shares = np.array([public_share, 1 - public_share])
    lacking = shares[:, None] * pixels.sum(0)  # [2, K]: public, private
    is_public = np.zeros(len(pixels), bool)
    waiting = np.ones(len(pixels), bool)
    holders = (pixels > 0).sum(0)
    while holders.any():
        rarest = int(np.where(holders > 0, holders, len(pixels) + 1).argmin())
        group = int(np.where(waiting, pixels[:, rarest], -1).argmax())
        part = _part(lacking, rarest)
        is_public[group] = part == 0
        lacking[part] -= pixels[group]
        waiting[group] = False
        holders -= pixels[group] > 0
    is_public[waiting] = rng.random(int(waiting.sum())) < public_share  # groups without any label
    return is_public


def _part(lacking: np.ndarray, rarest: int) -> int:
    """Return the part that lacks most of a class; where both lack as much, most of all."""
    return max((0, 1), key=lambda part: (lacking[part, rarest], lacking[part].sum()))


def missing_classes(
    class_pixels: Mapping[int, np.ndarray], parts: Mapping[int, Part], ids: Sequence[int]
) -> dict[Part, list[int]]:
    """Return the class ids that the test set has and a part has not, by part."""
    missing: dict[Part, list[int]] = {}
    total = sum(class_pixels.values())
    for part in set(parts.values()):
        there = sum(class_pixels[number] for number, name in parts.items() if name == part)
        missing[part] = [int(ids[k]) for k in np.flatnonzero((np.asarray(total) > 0) & (np.asarray(there) == 0))]
    return {part: classes for part, classes in missing.items() if classes}
