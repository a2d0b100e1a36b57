"""The label of a folder: its values, and a legend from what the raster says of its classes."""

from __future__ import annotations

from collections.abc import Mapping
from colorsys import hsv_to_rgb
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.errors import RasterioError

from c2seg.data.describing.candidates import Candidate
from c2seg.documents import read_text
from c2seg.errors import C2SegError, DataError
from c2seg.legend import BACKGROUND, IGNORE, LandClass, Legend, c2seg13, load_legend
from c2seg.products.xml import parse_xml
from c2seg.raster import RasterFile, open_raster
from c2seg.types import Window

__all__ = ["LabelFacts", "describe_label"]

_ROWS = 512
_MOST_VALUES = 256


@dataclass(frozen=True)
class LabelFacts:
    """What city.yaml says of the label: the legend (a name or a file), a legend to write beside it (None: none is needed)."""

    legend: str
    written: Legend | None
    evidence: str
    uncertain: tuple[str, ...] = ()


def describe_label(folder: Path, label: Candidate) -> LabelFacts | None:
    """Return what is known of a label's classes; None if its values cannot be class ids 1..254."""
    if label.source is None:
        text = f"label is {label.file}: polygons with the field class; name another with `field:`"
        return LabelFacts(_stated(folder) or "c2seg13", None, "polygons", (text,))
    values = _values(label.source)
    if values is None:
        return None
    ids = [int(value) for value in values if value not in (BACKGROUND, IGNORE)]
    if (stated := _stated(folder)) is not None:
        unknown = sorted(set(ids) - set(load_legend(folder / stated).ids))
        texts = (f"the label has values {unknown}, which {stated} does not name",) if unknown else ()
        return LabelFacts(stated, None, f"its classes are those of {stated}", texts)
    names, colors = _said(label.source.path)
    if names:
        legend = _legend(folder, ids, names, colors)
        return LabelFacts("legend.yaml", legend, "names and colors of its classes stand in the file")
    if set(ids) <= set(c2seg13().ids):
        text = f"label values {ids} are read as ids of C2Seg-13; if they mean other classes, write a legend.yaml"
        return LabelFacts("c2seg13", None, "no class is named", (text,))
    text = "nothing names the classes of the label: legend.yaml calls them by their values; name them"
    return LabelFacts("legend.yaml", _legend(folder, ids, {}, colors), "no class is named", (text,))


def _values(source: RasterFile) -> np.ndarray | None:
    """Return the values of a label; None if they are not whole numbers within 0..255."""
    if source.dtype.kind not in "iu":
        return None
    values = np.zeros(0, np.int64)
    for row in range(0, source.height, _ROWS):
        window = Window(row, 0, min(_ROWS, source.height - row), source.width)
        values = np.union1d(values, source.read(window))
        if len(values) > _MOST_VALUES or values.min() < 0 or values.max() > IGNORE:
            return None
    return values


def _stated(folder: Path) -> str | None:
    """Return the name of a legend file that lies in the folder and can be read."""
    for name in ("legend.yaml", "legend.yml"):
        try:
            if (folder / name).is_file() and load_legend(folder / name):
                return name
        except C2SegError:
            continue
    return None


def _said(path: Path) -> tuple[dict[int, str], dict[int, str]]:
    """Return names and colors by value that a raster has: category names, or class names of an ENVI header; a color table."""
    with open_raster(path) as dataset:
        names = _names(dataset)
        try:
            table: Mapping[int, tuple[int, ...]] = dataset.colormap(1)
        except (ValueError, RasterioError):
            table = {}
    colors = {value: "#{:02X}{:02X}{:02X}".format(*rgba[:3]) for value, rgba in table.items()}
    return names, colors


def _names(dataset: Any) -> dict[int, str]:
    """Return names by value: of an ENVI header, of tags such as ``CLASS_3=Forests``, or of GDAL's category names."""
    header = {key.lower(): text for key, text in dataset.tags(ns="ENVI").items()}
    if listed := header.get("class_names", "").strip("{} "):
        return {value: name.strip() for value, name in enumerate(listed.split(",")) if value and name.strip()}
    tags = {key.lower(): text for space in (dataset.tags(1), dataset.tags()) for key, text in space.items()}
    by_tag = {key.removeprefix("class_"): text for key, text in tags.items() if key.startswith("class_")}
    if named := {int(key): text for key, text in by_tag.items() if key.isdecimal() and int(key)}:
        return named
    return _categories(Path(dataset.name))


def _categories(path: Path) -> dict[int, str]:
    """Return GDAL's category names in the ``.aux.xml`` beside a raster, which rasterio does not hand out."""
    side = path.with_name(f"{path.name}.aux.xml")
    if not side.is_file():
        return {}
    content = parse_xml(read_text(side, error=DataError).encode(), str(side))
    texts = [element.text or "" for element in content.iter("Category")]
    return {value: text.strip() for value, text in enumerate(texts) if value and text.strip()}


def _legend(folder: Path, ids: list[int], names: Mapping[int, str], colors: Mapping[int, str]) -> Legend:
    """Return a legend of the values; those that are not drawn yet take colors that follow one another in hue."""
    values = sorted({*ids, *(value for value in names if value <= 254)})
    classes = [
        LandClass(value, names.get(value, f"class {value}"), _color(value, index, len(values), colors))
        for index, value in enumerate(values)
    ]
    return Legend(folder.resolve().name, tuple(classes))


def _color(value: int, index: int, count: int, colors: Mapping[int, str]) -> str:
    if (color := colors.get(value)) and color != "#000000" and len(set(colors.values())) > 2:
        return color
    red, green, blue = (
        round(255 * part) for part in hsv_to_rgb(index / max(1, count), 0.65, 0.55 + 0.35 * (index % 2))
    )
    return f"#{red:02X}{green:02X}{blue:02X}"
