"""Pairs of cities of a benchmark, as they are given."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from c2seg.data.layouts import has_labels, is_city
from c2seg.errors import InputError
from c2seg.metrics import open_references

__all__ = ["Pair", "PairLike", "parse_pairs"]

StrPath = str | os.PathLike[str]


@dataclass(frozen=True)
class Pair:
    """A labeled source, an unlabeled target, and the target's ground truth (None: the target cannot be scored).

    The target may be the source itself: then guarded block folds inside the city are scored, pooled, and methods that train
    on a target's images see those of the city, of the held-out blocks too.
    """

    source: Path
    target: Path
    reference: Path | None
    number: int = 1
    """Among pairs of cities with the same names."""
    given_name: str | None = None
    """Name of the pair; None: of its cities."""
    dataset: str | None = None
    """``AB`` or ``BW``, if the cities are source and target of it, or simulated as such."""
    tile_px: int | None = None
    """Side of the tiles over which the challenge scores the target; None: it is scored as a whole only."""
    is_published: bool = False
    """Whether published scores are of these very cities."""
    further: tuple[Path, ...] = ()
    """More labeled sources, with the first one's classes; not with folds inside a city."""

    @property
    def inside(self) -> bool:
        """True if the pair is one city."""
        return self.source == self.target

    @property
    def name(self) -> str:
        """Folder name of the pair."""
        if self.given_name is not None:
            return self.given_name
        cities = dict.fromkeys(path.resolve().name for path in (self.source, self.target))
        return "-".join([*cities, *([str(self.number)] if self.number > 1 else [])])


PairLike = str | Pair | tuple[StrPath, StrPath] | tuple[StrPath, StrPath, StrPath]
"""A pair as it may be given: ``"SOURCE:TARGET[:REFERENCE]"``, ``"CITY"``, or a tuple of paths."""


def parse_pairs(pairs: Sequence[PairLike]) -> tuple[Pair, ...]:
    """Read pairs; those whose cities have the same names as an earlier pair's are numbered."""
    numbered: list[Pair] = []
    for given in pairs:
        pair = _pair(given)
        same = sum(other.name == replace(pair, number=other.number).name for other in numbered)
        numbered.append(replace(pair, number=same + 1))
    return tuple(numbered)


def _pair(given: PairLike) -> Pair:
    """Read one pair. Without a reference the target's own label is the ground truth, if it has one."""
    if isinstance(given, Pair):
        return given
    parts = given.split(":") if isinstance(given, str) else [os.fspath(path) for path in given]
    if len(parts) not in {1, 2, 3} or not all(parts):
        raise InputError(f"pair {given!r} is not of the form SOURCE:TARGET[:REFERENCE], nor a city")
    if len(parts) == 1:
        return Pair(Path(parts[0]), Path(parts[0]), None)
    source, target = Path(parts[0]), Path(parts[1])
    if source.resolve() == target.resolve():
        raise InputError(f"pair {given!r} names one city twice; give it once for folds inside it")
    if len(parts) == 3:
        return Pair(source, target, Path(parts[2]))
    return Pair(source, target, _labels_of(target))


def _labels_of(target: Path) -> Path | None:
    """Return the target's label, as a file if nothing else is needed to read it; None if it has none."""
    beside = target / "label.tif"
    if beside.is_file() and not (target / "city.yaml").is_file():
        return beside
    if not is_city(target) or not has_labels(target):
        return None
    (first, *others) = open_references(target)
    plain = first.path == beside and not first.states_legend and first.code.label_map == "challenge"
    return beside if plain and not others else target
