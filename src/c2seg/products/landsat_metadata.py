"""The metadata file of a Landsat product (MTL as TXT, JSON or XML) as groups of keys and values."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from c2seg.documents import parse_json
from c2seg.errors import DataError
from c2seg.products.xml import parse_xml

__all__ = ["LandsatMetadata", "read_mtl"]

_LINE = re.compile(r'^\s*([A-Z0-9_]+)\s*=\s*"?(.*?)"?\s*$')
_MOST_DEPTH = 8


@dataclass(frozen=True)
class LandsatMetadata:
    """Values by group and key, as texts."""

    groups: Mapping[str, Mapping[str, str]]
    where: str

    def text(self, key: str, *groups: str) -> str:
        """Return the value of a key in the first of the groups that has it (without groups: in any); empty without one."""
        for group in groups or self.groups:
            if value := self.groups.get(group, {}).get(key):
                return value
        return ""

    def number_or_none(self, key: str, *groups: str) -> float | None:
        """Return a finite number; None if there is none."""
        try:
            value = float(self.text(key, *groups))
        except ValueError:
            return None
        return value if math.isfinite(value) else None

    def number(self, key: str, *groups: str) -> float:
        """Return a finite number. Raises DataError if there is none."""
        value = self.number_or_none(key, *groups)
        if value is None:
            raise DataError(
                f"{self.where} lacks {key}, without which there is no reflectance; download the product again"
            )
        return value


def read_mtl(content: bytes, where: str) -> LandsatMetadata:
    """Parse an MTL file of any of its three forms. Raises DataError if it is damaged."""
    text = content.lstrip()
    groups: dict[str, dict[str, str]] = {}
    if text.startswith(b"{"):
        _nested(parse_json(content, where), "", groups, 0)
    elif text.startswith(b"<"):
        for group in parse_xml(content, where):
            groups[str(group.tag)] = {str(item.tag): (item.text or "").strip() for item in group}
    else:
        _lines(content.decode("utf-8", "replace"), groups)
    if not any(groups.values()):
        raise DataError(f"{where} is no metadata file of Landsat; download the product again")
    return LandsatMetadata(groups, where)


def _nested(content: Any, name: str, groups: dict[str, dict[str, str]], depth: int) -> None:
    if not isinstance(content, dict) or depth > _MOST_DEPTH:
        return
    groups[name] = {key: str(value) for key, value in content.items() if not isinstance(value, dict | list)}
    for key, value in content.items():
        _nested(value, key, groups, depth + 1)


def _lines(text: str, groups: dict[str, dict[str, str]]) -> None:
    stack = [""]
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        key, value = match[1], match[2]
        if key == "GROUP":
            stack.append(value)
        elif key == "END_GROUP":
            stack = stack[:-1] or [""]
        else:
            groups.setdefault(stack[-1], {})[key] = value
