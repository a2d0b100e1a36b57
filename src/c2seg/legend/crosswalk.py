"""Crosswalk: the classes of several legends as classes of one, for places that name them differently."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from c2seg.documents import parse_yaml, read_yaml
from c2seg.errors import InputError, unknown_name
from c2seg.legend import BACKGROUND, IGNORE, Legend

__all__ = ["Crosswalk", "land4", "load_crosswalk"]


@dataclass(frozen=True)
class Crosswalk:
    """Classes that several legends have in common, and by name of each legend its class names with what they become.

    Several classes may become one. None: pixels of the class are ignored. Names are compared without case.
    """

    legend: Legend
    classes: Mapping[str, Mapping[str, str | None]]

    def __post_init__(self) -> None:
        for name, mapping in self.classes.items():
            for target in filter(None, mapping.values()):
                if target not in self.legend.names:
                    raise InputError(f"crosswalk of {name!r}: {unknown_name('class', target, self.legend.names)}")

    def table(self, legend: Legend) -> np.ndarray:
        """Return uint8 [256] from ids of a legend to ids of the common one; 0 stays 0, the rest is 255 (ignored).

        Raises InputError for a legend that is not part of the crosswalk, or has a class that it does not name.
        """
        if legend.name not in self.classes:
            raise InputError(f"crosswalk: {unknown_name('legend', legend.name, self.classes)}")
        known = {name.casefold(): target for name, target in self.classes[legend.name].items()}
        ids = dict(zip(self.legend.names, self.legend.ids, strict=True))
        table = np.full(256, IGNORE, np.uint8)
        table[BACKGROUND] = BACKGROUND
        for item in legend.classes:
            if item.name.casefold() not in known:
                raise InputError(
                    f"crosswalk of {legend.name!r} says nothing of its class {item.name!r}; null ignores it"
                )
            target = known[item.name.casefold()]
            table[item.id] = IGNORE if target is None else ids[target]
        return table

    def apply(self, ids: np.ndarray, legend: Legend) -> np.ndarray:
        """Return ids uint8 of any shape in the common legend."""
        return np.asarray(self.table(legend)[ids])


def load_crosswalk(path: Path) -> Crosswalk:
    """Read a crosswalk from YAML: ``legend:`` as in a legend file, and ``classes:`` by legend, each ``name: common name``."""
    return _crosswalk(read_yaml(path, what="the crosswalk "), str(path))


def land4() -> Crosswalk:
    """Return the shipped crosswalk: built-up, low vegetation, trees, water."""
    text = resources.files("c2seg.legend").joinpath("land4.yaml").read_text(encoding="utf-8")
    return _crosswalk(parse_yaml(text, "land4.yaml"), "land4.yaml")


def _crosswalk(content: Any, where: str) -> Crosswalk:
    if not isinstance(content, Mapping) or set(content) != {"legend", "classes"}:
        raise InputError(f"{where} is not a crosswalk (keys legend, classes)")
    classes = content["classes"]
    if not isinstance(classes, Mapping) or not all(isinstance(mapping, Mapping) for mapping in classes.values()):
        raise InputError(f"{where}: classes must be mappings of class names by legend")
    named = {
        str(name): {str(key): None if value is None else str(value) for key, value in mapping.items()}
        for name, mapping in classes.items()
    }
    try:
        return Crosswalk(Legend.from_dict(content["legend"], where), named)
    except InputError as error:
        text = str(error)
        raise InputError(text if text.startswith(where) else f"{where}: {text}") from error
