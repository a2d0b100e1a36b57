"""Which expert decides which class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from c2seg.errors import InputError, unknown_name
from c2seg.fusion.rules import SECOND_PLACE, Rule
from c2seg.fusion.sources import open_map
from c2seg.legend import Legend, c2seg13

__all__ = ["expert_rules"]


def expert_rules(
    modalities: Mapping[str, Path], classes: Sequence[tuple[str | int, Path]], legend: Legend
) -> tuple[Rule, ...]:
    """Return rules in order: those of the challenge's second place, then others.

    ``modalities`` gives maps by ``hsi``, ``sar``, ``msi``; ``classes`` a class by name (in any case) or id and its map.
    Raises InputError for an unknown class, and for ``modalities`` with another legend than C2Seg's.
    """
    if modalities and legend.name != c2seg13().name:
        raise InputError("hsi, sar and msi decide classes of C2Seg's legend; with another one name the class in rules")
    index = legend.index_table()
    published = [
        Rule(int(index[number]), open_map(modalities[name], legend))
        for number, name in SECOND_PLACE.items()
        if name in modalities
    ]
    return (*published, *(Rule(_position(name, legend), open_map(path, legend)) for name, path in classes))


def _position(name: str | int, legend: Legend) -> int:
    """Return the position of a class in the legend."""
    known = {str(item.id): i for i, item in enumerate(legend.classes)}
    known |= {item.name.casefold(): i for i, item in enumerate(legend.classes)}
    if (key := str(name).strip().casefold()) not in known:
        raise InputError(f"rules: {unknown_name('class', str(name).strip(), legend.names)}")
    return known[key]
