"""Random splits of tiles published by the challenge's teams, and their leaks.

Tiles of a training city overlap by half, so pixels of a random validation tile are also in training tiles. Use these splits
only to reproduce published offline numbers. Use ``BlockFolds`` to select a model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from c2seg.data.tiling import TileGrid
from c2seg.errors import InputError, unknown_name

__all__ = ["LeakReport", "TileSplit", "leak_report", "published_split", "random_split"]

# Validation tiles of Augsburg, as listed with the second place's entry to the challenge (238 / 35 of 273 tiles).
_UDA_AUGSBURG = (
    8, 9, 19, 20, 34, 38, 48, 74, 78, 84, 108, 109, 112, 114, 119, 122, 136, 147, 151, 159, 160, 163, 171, 191, 196, 206,
    215, 226, 227, 244, 249, 264, 268, 269, 270,
)  # fmt: skip

SPLITS = {
    "uda": "second place, Augsburg: 238 training and 35 validation tiles, as listed",
    "mrsn": "third place: 90 % of the tiles, shuffled with numpy's seed 0 (assuming numeric listing order)",
}


@dataclass(frozen=True, slots=True)
class TileSplit:
    """Numbers of the training and the validation tiles."""

    name: str
    train: tuple[int, ...]
    validation: tuple[int, ...]


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
    """Return a team's split of ``count`` tiles by name (``uda``, ``mrsn``).

    The second place's list for Beijing is only partly published, and the first place's splits are not published. Raises
    InputError for an unknown name or another number of tiles.
    """
    if name not in SPLITS:
        raise InputError(unknown_name("split", name, SPLITS))
    if name == "mrsn":
        # count * 0.9 in integers: 245 of 273 and 6426 of 7140, as published
        return random_split(count, count * 9 // 10, 0, name)
    if count != 273:
        raise InputError(f"split 'uda' is published for the 273 tiles of Augsburg, not for {count} tiles")
    validation = set(_UDA_AUGSBURG)
    return TileSplit(name, tuple(n for n in range(count) if n not in validation), _UDA_AUGSBURG)


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
