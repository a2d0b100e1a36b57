"""Random splits of tiles published by the challenge's teams, and their leaks.

Tiles of a training city overlap by half, so pixels of a random validation tile are also in training tiles. Use these splits
only to reproduce published offline numbers. Use ``BlockFolds`` to select a model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np

from c2seg.data.tiling import TileGrid
from c2seg.documents import parse_yaml
from c2seg.errors import InputError, unknown_name

__all__ = [
    "LeakReport",
    "TileSplit",
    "dataset_of_tiles",
    "leak_report",
    "published_split",
    "random_split",
    "third_place_split",
]

TEAMS = {"uda": "second place", "mrsn": "third place"}
_TILES = {273: "C2Seg-AB", 7140: "C2Seg-BW"}
"""Dataset by number of training tiles."""


@dataclass(frozen=True, slots=True)
class TileSplit:
    """Numbers of the training and the validation tiles. ``is_released``: a team's own list, rather than one like it."""

    name: str
    train: tuple[int, ...]
    validation: tuple[int, ...]
    is_released: bool = False


@dataclass(frozen=True, slots=True)
class LeakReport:
    """Leak of a split: validation tiles that share pixels with training tiles, and these pixels, counted once."""

    validation_tiles: int
    leaking_tiles: int
    validation_px: int
    leaked_px: int

    @property
    def text(self) -> str:
        """Return the report as text."""
        return (
            f"{self.leaking_tiles} of {self.validation_tiles} validation tiles overlap training tiles; "
            f"{self.leaked_px} of {self.validation_px} validation pixels ({self.leaked_px / self.validation_px:.1%}) "
            "are also trained on"
        )


def published_split(name: str, count: int) -> TileSplit:
    """Return the split of ``count`` tiles that a team released: ``uda`` (second place), ``mrsn`` (third place).

    There is one for the 273 tiles of Augsburg and one for the 7140 of Beijing. The first place's splits are not published.
    Raises InputError for an unknown name or another number of tiles.
    """
    if name not in TEAMS:
        raise InputError(unknown_name("split", name, TEAMS))
    if count not in _TILES:
        numbers = " or ".join(str(number) for number in _TILES)
        raise InputError(f"split {name!r} is published for {numbers} tiles, not for {count} tiles")
    entry = _released()[name][_TILES[count]]
    validation = entry["validation"]
    excluded = {*validation, *entry["left_out"]}
    training = tuple(number for number in range(count) if number not in excluded)
    return TileSplit(name, training, tuple(validation), is_released=True)


def dataset_of_tiles(count: int) -> str | None:
    """Return ``AB`` or ``BW`` for the number of a dataset's training tiles; None for another number."""
    name = _TILES.get(count)
    return name and name[-2:]


def third_place_split(count: int) -> TileSplit:
    """Return the third place's released split; for another number of tiles a random one by its rule: 90 % for training."""
    return published_split("mrsn", count) if count in _TILES else random_split(count, count * 9 // 10, 0, "mrsn")


@cache
def _released() -> dict[str, dict[str, dict[str, list[int]]]]:
    text = resources.files("c2seg.data").joinpath("published_splits.yaml").read_text(encoding="utf-8")
    content: dict[str, dict[str, dict[str, list[int]]]] = parse_yaml(text, "published_splits.yaml")
    return content


def random_split(count: int, train: int, seed: int, name: str = "random") -> TileSplit:
    """Return ``train`` tiles drawn at random for training, the rest for validation (numpy's legacy shuffle)."""
    order = np.arange(count)
    np.random.RandomState(seed).shuffle(order)
    return TileSplit(name, tuple(map(int, np.sort(order[:train]))), tuple(map(int, np.sort(order[train:]))))


def leak_report(split: TileSplit, tiles: TileGrid) -> LeakReport:
    """Count the pixels that validation shares with training. It needs one byte per pixel of the scene."""
    windows = list(tiles.windows())
    trained = np.zeros((tiles.height, tiles.width), bool)
    for index in split.train:
        trained[windows[index].slices] = True
    validation = np.zeros_like(trained)
    leaking = 0
    for index in split.validation:
        leaking += bool(trained[windows[index].slices].any())
        validation[windows[index].slices] = True
    return LeakReport(len(split.validation), leaking, int(validation.sum()), int((validation & trained).sum()))
