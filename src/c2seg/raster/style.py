"""QGIS style of a map: class names and colors."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from c2seg.legend import Legend
from c2seg.outputs import write_text

__all__ = ["qml_text", "write_qml"]


def write_qml(path: Path, legend: Legend, palette: str = "default") -> None:
    """Write a QGIS paletted-raster style (``.qml``) for single-band maps of a legend's ids."""
    write_text(path, qml_text(legend, palette))


def qml_text(legend: Legend, palette: str = "default") -> str:
    """Return the content of a style; see ``write_qml``."""
    root = ElementTree.Element("qgis", {"styleCategories": "AllStyleCategories"})
    pipe = ElementTree.SubElement(root, "pipe")
    renderer = ElementTree.SubElement(
        pipe, "rasterrenderer", {"type": "paletted", "band": "1", "opacity": "1", "alphaBand": "-1"}
    )
    entries = ElementTree.SubElement(renderer, "colorPalette")
    colors = legend.colors(palette)
    for item in legend.classes:
        red, green, blue = colors[item.id]
        ElementTree.SubElement(
            entries,
            "paletteEntry",
            {"value": str(item.id), "color": f"#{red:02x}{green:02x}{blue:02x}", "label": item.name, "alpha": "255"},
        )
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + text + "\n"
