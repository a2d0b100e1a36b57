"""QGIS styles: class names and colors of a map, a ramp for shares such as confidence."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from c2seg.legend import Legend
from c2seg.outputs import write_text

__all__ = ["level_qml_text", "qml_text", "write_qml"]

_RAMP = ((0.0, "#00224e"), (0.25, "#434e6c"), (0.5, "#7d7c78"), (0.75, "#bcae6c"), (1.0, "#fee838"))
"""Cividis, which is ordered in lightness and looks alike to color-blind readers."""


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
    return _document(root)


def level_qml_text(top: float = 1.0) -> str:
    """Return a QGIS style for a single band of shares, such as confidence: a linear ramp from dark to light.

    ``top`` is the value of a share of 1: 1 where the file states its scale, else the largest stored value.
    """
    root = ElementTree.Element("qgis", {"styleCategories": "AllStyleCategories"})
    pipe = ElementTree.SubElement(root, "pipe")
    renderer = ElementTree.SubElement(
        pipe,
        "rasterrenderer",
        {
            "type": "singlebandpseudocolor", "band": "1", "opacity": "1", "alphaBand": "-1",
            "classificationMin": "0", "classificationMax": f"{top:g}",
        },
    )  # fmt: skip
    shader = ElementTree.SubElement(ElementTree.SubElement(renderer, "rastershader"), "colorrampshader")
    for key, text in (
        ("colorRampType", "INTERPOLATED"), ("classificationMode", "1"), ("clip", "0"), ("minimumValue", "0"),
        ("maximumValue", f"{top:g}"),
    ):  # fmt: skip
        shader.set(key, text)
    for value, color in _RAMP:
        item = {"value": f"{value * top:g}", "color": color, "label": f"{100 * value:.0f} %", "alpha": "255"}
        ElementTree.SubElement(shader, "item", item)
    return _document(root)


def _document(root: ElementTree.Element) -> str:
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + text + "\n"
