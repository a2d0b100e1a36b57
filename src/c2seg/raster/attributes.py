"""Names, pixel counts, areas and colors of a map's classes, as GDAL keeps them beside a raster (``.aux.xml``).

GDAL, QGIS and ArcGIS show the names as the categories of the band, and the table as its raster attribute table. Elements and
numbers are those of GDAL's persistent auxiliary metadata (PAM).
"""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from c2seg.legend import Legend

__all__ = ["attributes_text"]

_INTEGER, _REAL, _TEXT = "0", "1", "2"  # GDALRATFieldType
_COLUMNS = (
    ("Value", _INTEGER, "5"), ("Count", _REAL, "1"), ("Class", _TEXT, "2"), ("Area_km2", _REAL, "0"),
    ("Red", _INTEGER, "6"), ("Green", _INTEGER, "7"), ("Blue", _INTEGER, "8"), ("Alpha", _INTEGER, "9"),
)  # fmt: skip
"""Name, type and GDALRATFieldUsage. Counts are real numbers: GDAL's integers have 32 bits."""


def attributes_text(
    legend: Legend, pixels: Mapping[int, int], pixel_m2: float | None = None, palette: str = "default"
) -> str:
    """Return the ``.aux.xml`` of a map of ids: category names, and a row a class in the attribute table.

    ``pixels`` are counts by id; a class without one has none. Without ``pixel_m2`` there is no column of areas.
    """
    root = Element("PAMDataset")
    software = SubElement(SubElement(root, "Metadata", {"domain": "C2SEG"}), "MDI", {"key": "SOFTWARE"})
    software.text = "c2seg"
    band = SubElement(root, "PAMRasterBand", {"band": "1"})
    SubElement(band, "Description").text = "land cover"
    names = {0: "no data", **dict(zip(legend.ids, legend.names, strict=True))}
    categories = SubElement(band, "CategoryNames")
    for value in range(max(names) + 1):
        SubElement(categories, "Category").text = names.get(value, "")
    _table(band, legend, pixels, pixel_m2, palette)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _table(band: Element, legend: Legend, pixels: Mapping[int, int], pixel_m2: float | None, palette: str) -> None:
    table = SubElement(band, "GDALRasterAttributeTable", {"tableType": "thematic"})
    columns = [column for column in _COLUMNS if pixel_m2 is not None or column[0] != "Area_km2"]
    for index, (name, kind, usage) in enumerate(columns):
        definition = SubElement(table, "FieldDefn", {"index": str(index)})
        for tag, text in (("Name", name), ("Type", kind), ("Usage", usage)):
            SubElement(definition, tag).text = text
    colors = legend.colors(palette)
    for index, item in enumerate(legend.classes):
        count = int(pixels.get(item.id, 0))
        area = [] if pixel_m2 is None else [f"{count * pixel_m2 / 1e6:.6f}"]
        row = SubElement(table, "Row", {"index": str(index)})
        for value in (item.id, count, item.name, *area, *colors[item.id], 255):
            SubElement(row, "F").text = str(value)
