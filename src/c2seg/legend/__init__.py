"""Legend: ids, names and colors of the classes of a map, and the label mappings of published labels.

Ids are 1..254. 0 is background (unknown in labels, nodata in maps) and 255 is ignored. Neither is a class.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from c2seg.documents import parse_yaml, read_yaml
from c2seg.errors import DataError, InputError, unknown_name

__all__ = ["BACKGROUND", "IGNORE", "LandClass", "Legend", "c2seg13", "load_legend"]

BACKGROUND = 0
IGNORE = 255

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LandClass:
    """A class: its id in files, its name and its color as ``#RRGGBB``."""

    id: int
    name: str
    color: str


@dataclass(frozen=True)
class Legend:
    """The classes of a map in the order of a model's outputs.

    ``palettes`` are alternative colors by name, one color per class. ``label_maps`` map values in files to ids (0 for
    background). A label mapping must be one to one, so that it can be inverted.
    """

    name: str
    classes: tuple[LandClass, ...]
    palettes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    label_maps: Mapping[str, Mapping[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ids = self.ids
        if not ids:
            raise InputError(f"legend {self.name!r} has no class")
        if len(set(ids)) != len(ids) or min(ids) < 1 or max(ids) > 254:
            raise InputError(f"legend {self.name!r}: ids must be different and within 1..254, found {ids}")
        for palette, colors in {"classes": tuple(c.color for c in self.classes), **self.palettes}.items():
            if len(colors) != len(ids):
                raise InputError(
                    f"legend {self.name!r}: palette {palette!r} has {len(colors)} colors for {len(ids)} classes"
                )
            for color in colors:
                _rgb(color)
        for label_map, codes in self.label_maps.items():
            if len(set(codes.values())) != len(codes):
                raise InputError(f"legend {self.name!r}: label mapping {label_map!r} maps two values to one id")
            unknown = sorted(set(codes.values()) - set(ids) - {BACKGROUND})
            if unknown:
                raise InputError(f"legend {self.name!r}: label mapping {label_map!r} maps to unknown ids {unknown}")

    @property
    def ids(self) -> tuple[int, ...]:
        """Class ids in output order."""
        return tuple(c.id for c in self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in output order."""
        return tuple(c.name for c in self.classes)

    @property
    def num_classes(self) -> int:
        """Number of classes without background."""
        return len(self.classes)

    def colors(self, palette: str = "default") -> dict[int, tuple[int, int, int]]:
        """Return red, green, blue (0..255) by class id. ``palette`` is ``default`` or the name of a palette."""
        if palette == "default":
            return {c.id: _rgb(c.color) for c in self.classes}
        if palette not in self.palettes:
            raise InputError(unknown_name("palette", palette, ["default", *self.palettes]))
        return {c.id: _rgb(color) for c, color in zip(self.classes, self.palettes[palette], strict=True)}

    def among(self, ids: Collection[int]) -> list[bool]:
        """Return, for each class in order, whether its id is one of ``ids``."""
        return [id in ids for id in self.ids]

    def index_table(self) -> np.ndarray:
        """Return uint8[256] from id to output index. It is 255 for background, ignored pixels and unknown ids."""
        table = np.full(256, 255, np.uint8)
        table[list(self.ids)] = np.arange(self.num_classes, dtype=np.uint8)
        return table

    def id_table(self) -> np.ndarray:
        """Return uint8[num_classes] from output index to id."""
        return np.array(self.ids, np.uint8)

    def apply_label_map(self, values: np.ndarray, label_map: str) -> np.ndarray:
        """Convert label values to ids (uint8) by a named label mapping. ``challenge`` does not change ids.

        255 stays 255 (ignore) unless the label mapping contains it. Raises DataError for a value that is not in the
        label mapping.
        """
        codes = {IGNORE: IGNORE, **self.codes(label_map)}
        present = np.unique(values)
        unknown = [_plain(v) for v in present if _plain(v) not in codes]
        if unknown:
            raise DataError(
                f"label values {unknown[:8]} are not in label mapping {label_map!r} of legend {self.name!r} "
                f"(valid: {sorted(codes)}); name another label mapping"
            )
        out = np.zeros(values.shape, np.uint8)
        for value in present:
            if codes[_plain(value)]:
                out[values == value] = codes[_plain(value)]
        return out

    def codes(self, name: str) -> Mapping[int, int]:
        """Return id (0: background) by value in files for a named label mapping. ``challenge`` is the identity."""
        if name == "challenge":
            return {i: i for i in (BACKGROUND, *self.ids)}
        if name not in self.label_maps:
            raise InputError(unknown_name("label mapping", name, ["challenge", *self.label_maps]))
        return self.label_maps[name]

    def as_dict(self) -> dict[str, object]:
        """Return plain values for JSON or YAML; ``from_dict`` reads them."""
        return {
            "name": self.name,
            "classes": [{"id": c.id, "name": c.name, "color": c.color} for c in self.classes],
            "palettes": {name: list(colors) for name, colors in self.palettes.items()},
            "label_maps": {name: {str(k): v for k, v in codes.items()} for name, codes in self.label_maps.items()},
        }

    @classmethod
    def from_dict(cls, content: Any, where: str) -> Legend:
        """Build a legend from parsed YAML or JSON, also of version 0.1.0. ``where`` names its origin in messages."""
        content = _present_keys(content)
        try:
            return cls(
                name=str(content["name"]),
                classes=tuple(LandClass(int(c["id"]), str(c["name"]), str(c["color"])) for c in content["classes"]),
                palettes={str(k): tuple(map(str, v)) for k, v in (content.get("palettes") or {}).items()},
                label_maps={
                    str(k): {int(a): int(b) for a, b in v.items()} for k, v in (content.get("label_maps") or {}).items()
                },
            )
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise InputError(
                f"{where} is not a legend (keys name, classes: [{{id, name, color}}]): {error!r}"
            ) from error


def load_legend(path: Path) -> Legend:
    """Read a legend from a YAML file. Keys of version 0.1.0 are read with a warning."""
    content = read_yaml(path, what="the legend ")
    if _present_keys(content) != content:
        _log.warning(
            "%s: the keys `numberings:` and `colour:` are now `label_maps:` and `color:`; the next release reads only these",
            path,
        )
    return Legend.from_dict(content, str(path))


@cache
def c2seg13() -> Legend:
    """Return the legend of the C2Seg challenge (13 classes), which is the default."""
    text = resources.files("c2seg.legend").joinpath("c2seg13.yaml").read_text(encoding="utf-8")
    return Legend.from_dict(parse_yaml(text, "c2seg13.yaml"), "c2seg13.yaml")


def _present_keys(content: Any) -> Any:
    """Return a legend's content with the old keys ``numberings`` and ``colour`` (of a class) renamed."""
    if not isinstance(content, Mapping):
        return content
    renamed = {"label_maps" if key == "numberings" else key: value for key, value in content.items()}
    classes = renamed.get("classes")
    if isinstance(classes, list):
        renamed["classes"] = [
            {"color" if key == "colour" else key: value for key, value in item.items()}
            if isinstance(item, dict)
            else item
            for item in classes
        ]
    return renamed


def _plain(value: Any) -> Any:
    number = value.item()
    return int(number) if float(number).is_integer() else number


def _rgb(color: str) -> tuple[int, int, int]:
    text = color.removeprefix("#")
    try:
        if len(text) != 6:
            raise ValueError
        red, green, blue = bytes.fromhex(text)
    except ValueError:
        raise InputError(f"color {color!r} is not of the form #RRGGBB") from None
    return red, green, blue
