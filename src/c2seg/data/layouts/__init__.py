"""Recognize how a city lies on disk and open it.

One module per layout; each has ``NAME``, ``LOOKS_FOR``, ``recognize``, ``images``, ``labels``, and may have ``check``
(what is wrong beyond what opening shows).
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from c2seg.data.city import City, Label, LabeledCity
from c2seg.data.label_map import settle_label_maps
from c2seg.data.layouts import folder, mat, tiles
from c2seg.errors import DataError

__all__ = ["add_labels", "layout_of", "open_city", "open_labeled_city"]

LAYOUTS: tuple[ModuleType, ...] = (tiles, mat, folder)


def layout_of(path: Path) -> ModuleType:
    """Return the module of the layout found at ``path``; DataError says what was looked for."""
    if not path.exists():
        raise DataError(f"{path} does not exist; give a city (a folder with msi.tif, hsi.tif, sar.tif or a city.yaml)")
    for layout in LAYOUTS:
        if layout.recognize(path):
            return layout
    looked_for = "; ".join(layout.LOOKS_FOR for layout in LAYOUTS)
    what = "is an empty folder" if path.is_dir() and not any(path.iterdir()) else "holds no city"
    inside = _cities_inside(path)
    hint = f"; it holds cities, give one of them: {', '.join(inside)}" if inside else f"; looked for {looked_for}"
    raise DataError(f"{path} {what}{hint}")


def open_city(path: Path) -> City:
    """Open the images of a city; labels on disk are not even looked at. Raises DataError with the first problem."""
    city: City = layout_of(path).images(path)
    if city.problems:
        more = f" ({len(city.problems) - 1} more: c2seg inspect {path})" if len(city.problems) > 1 else ""
        raise DataError(city.problems[0] + more)
    return city


def open_labeled_city(path: Path, label_map: str | None = None) -> LabeledCity:
    """Open a city with its labels; DataError if it has none.

    ``label_map`` overrides the one that the layout states: a name of the legend, a mapping file, or ``auto``.
    """
    labeled = add_labels(path, open_city(path), label_map)
    if labeled is None:
        raise DataError(f"{path} has no label (label.tif, or `label:` in city.yaml); a source city needs one")
    return labeled


def add_labels(path: Path, city: City, label_map: str | None = None) -> LabeledCity | None:
    """Return a city that was opened at ``path`` with its labels; None if it has none."""
    labels: tuple[Label, ...] | None = layout_of(path).labels(path, city, label_map)
    return None if labels is None else settle_label_maps(city, labels)


def _cities_inside(path: Path) -> list[str]:
    """Return the cities one level down: the splits of a dataset, the .mat files of a folder."""
    if not path.is_dir():
        return []
    children = sorted(path.iterdir())
    return [str(child) for child in children[:1000] if any(layout.recognize(child) for layout in LAYOUTS)][:8]
