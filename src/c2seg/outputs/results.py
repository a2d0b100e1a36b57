"""Files that c2seg wrote as results, recognized by their first bytes: they may be written anew beside data."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

__all__ = ["is_result", "replaces_attributes", "replaces_json", "replaces_style"]

_HEAD_BYTES = 65536
_MOST_JSON_BYTES = 16 * 2**20
STYLE_HEAD = (
    "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n<qgis styleCategories=\"AllStyleCategories\">\n"
)
"""How each style of ours begins. Styles that QGIS saved tell its version there."""
_ATTRIBUTES = re.compile(rb'<Metadata domain="C2SEG">\s*<MDI key="SOFTWARE">c2seg</MDI>')
_SIGNATURES = (
    _ATTRIBUTES,
    re.compile(rb'<Item name="SOFTWARE">c2seg</Item>'),  # maps and their layers
    re.compile(rb"tEXtSoftware\0c2seg"),  # previews
    re.compile(re.escape(STYLE_HEAD.encode())),
    re.compile(rb'"artifact": "(map|scores|labels)"'),
)


def is_result(path: Path) -> bool:
    """Return True for a map, a layer, a preview, a style, or a JSON file that c2seg wrote."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return False
    return any(signature.search(head) for signature in _SIGNATURES)


def replaces_style(path: Path) -> bool:
    """Return True for a QGIS style of ours."""
    try:
        with path.open("rb") as file:
            return file.read(len(STYLE_HEAD)) == STYLE_HEAD.encode()
    except OSError:
        return False


def replaces_attributes(path: Path) -> bool:
    """Return True for class names and attribute table of ours, also after GDAL added statistics to them."""
    try:
        with path.open("rb") as file:
            return _ATTRIBUTES.search(file.read(_MOST_JSON_BYTES)) is not None
    except OSError:
        return False


def replaces_json(kind: str, main: Path) -> Callable[[Path], bool]:
    """Return a test for JSON files of ours: of this kind, and about this main file where they name one."""

    def replaces(path: Path) -> bool:
        try:
            if path.stat().st_size > _MOST_JSON_BYTES:
                return False
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return False
        return (
            isinstance(content, dict)
            and content.get("artifact") == kind
            and content.get("path", main.name) == main.name
        )

    return replaces
