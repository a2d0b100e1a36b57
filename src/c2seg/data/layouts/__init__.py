"""Recognize the layout of a city on disk and open it.

Each layout is a module with ``NAME``, ``LOOKS_FOR``, ``recognize``, ``images``, ``labels``. It may have ``check``, which
reports problems that opening does not reveal. Other packages add layouts of this form as entry points of the group
``c2seg.layouts``. They are tried if no built-in layout recognizes a path.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from c2seg.data.city import City, LabeledCity
from c2seg.data.label_map import resolve_label_maps
from c2seg.data.layouts import folder, mat, tiles
from c2seg.data.layouts.kinds import kind_hint
from c2seg.data.layouts.plugged import Layout, PluggedLayout
from c2seg.errors import DataError, PluginError
from c2seg.plugins import Plugin, installed
from c2seg.raster import is_object

__all__ = [
    "Layout",
    "add_labels",
    "has_labels",
    "is_city",
    "layout_of",
    "layout_plugins",
    "open_city",
    "open_labeled_city",
]

LAYOUTS: tuple[Layout, ...] = (tiles, mat, folder)

_log = logging.getLogger(__name__)


def layout_of(path: Path) -> Layout:
    """Return the layout of ``path``, built-in or of a plug-in. Raises DataError, which lists what was looked for."""
    if is_object(path):
        if folder.recognize(path):
            return folder
        raise DataError(f"{path} has no city: looked for {folder.LOOKS_FOR}")
    if not path.exists():
        raise DataError(f"{path} does not exist; give a city (a folder with msi.tif, hsi.tif, sar.tif or a city.yaml)")
    for layout in LAYOUTS:
        if layout.recognize(path):
            return layout
    more, broken = [], []
    for plugin in installed("layouts"):
        try:
            plugged = PluggedLayout.load(plugin)
            more.append(plugged.LOOKS_FOR)
            if plugged.recognize(path):
                return plugged
        except PluginError as error:  # another plug-in may still recognize the path
            _log.warning("%s", error)
            broken.append(f"; {error}")
    if hint := kind_hint(path):
        raise DataError(hint)
    looked_for = "; ".join([*(layout.LOOKS_FOR for layout in LAYOUTS), *more]) + "".join(broken)
    what = "is an empty folder" if path.is_dir() and not any(path.iterdir()) else "contains no supported dataset"
    inside = _cities_inside(path)
    hint = f"; it contains cities, give one of them: {', '.join(inside)}" if inside else f"; looked for {looked_for}"
    raise DataError(f"{path} {what}{hint}")


def open_city(path: Path) -> City:
    """Open the images of a city. Labels on disk are not read. Raises DataError with the first problem."""
    city = layout_of(path).images(path)
    if city.problems:
        more = f" ({len(city.problems) - 1} more: c2seg inspect {path})" if len(city.problems) > 1 else ""
        raise DataError(city.problems[0] + more)
    return city


def open_labeled_city(path: Path, label_map: str | None = None) -> LabeledCity:
    """Open a city with its labels. Raises DataError if it has none.

    ``label_map`` replaces the label mapping of the layout: a name in the legend, a mapping file, or ``auto``.
    """
    labeled = add_labels(path, open_city(path), label_map)
    if labeled is None:
        raise DataError(f"{path} has no labels (label.tif, or `label:` in city.yaml); a source city needs labels")
    return labeled


def add_labels(path: Path, city: City, label_map: str | None = None) -> LabeledCity | None:
    """Return a city that was opened from ``path`` with its labels; None if it has none."""
    labels = layout_of(path).labels(path, city, label_map)
    return None if labels is None else resolve_label_maps(city, labels)


def is_city(path: Path) -> bool:
    """Return whether a built-in layout recognizes a path."""
    return path.exists() and any(layout.recognize(path) for layout in LAYOUTS)


def has_labels(path: Path) -> bool:
    """Return whether a city has labels, without reading them. Raises DataError if ``path`` is no city."""
    layout = layout_of(path)
    if layout is folder:
        return bool(folder.label_files(path))
    return layout.labels(path, layout.images(path), None) is not None


def layout_plugins(paths: Iterable[Path]) -> tuple[Plugin, ...]:
    """Return the plug-ins whose layouts open these cities."""
    layouts = (layout_of(path) for path in paths)
    return tuple(dict.fromkeys(layout.plugin for layout in layouts if isinstance(layout, PluggedLayout)))


def _cities_inside(path: Path) -> list[str]:
    """Return the cities inside a folder, such as the splits of a dataset or .mat files."""
    if not path.is_dir():
        return []
    children = sorted(path.iterdir())
    return [str(child) for child in children[:1000] if any(layout.recognize(child) for layout in LAYOUTS)][:8]
