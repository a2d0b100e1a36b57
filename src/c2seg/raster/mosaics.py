"""Virtual mosaics of class maps: one small file that programs open as one raster, without a copy of any pixel."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as Xml

from affine import Affine

from c2seg.errors import GridError
from c2seg.raster.reading import RasterFile
from c2seg.types import Grid

__all__ = ["mosaic_groups", "mosaic_text"]

_CLOSE = 1e-3
"""Of a pixel: grids that miss each other by less are aligned."""


def mosaic_groups(files: Sequence[Path]) -> list[list[Path]]:
    """Return rasters in groups that one mosaic can hold: of one CRS and pixel size, with aligned pixels, in their order.

    Those without a CRS are left out.
    """
    groups: list[tuple[Grid, list[Path]]] = []
    for file in files:
        grid = RasterFile(file).grid
        if grid.crs is None:
            continue
        for first, group in groups:
            if _offset(first, grid) is not None:
                group.append(file)
                break
        else:
            groups.append((grid, [file]))
    return [group for _, group in groups]


def mosaic_text(files: Sequence[Path], beside: Path) -> str:
    """Return the text of a VRT of class maps (uint8, 0 nodata) for a file in the folder ``beside``.

    Later maps lie over earlier ones where these have a class. Paths are relative to the folder. Raises GridError if the maps do
    not share one grid.
    """
    sources = [RasterFile(file) for file in files]
    first = sources[0].grid
    places = []
    for source in sources:
        offset = _offset(first, source.grid)
        if offset is None:
            raise GridError(f"{source.path} is not on the grid of {sources[0].path}; make a mosaic of those that are")
        places.append((source, *offset))
    first_row, first_col = min(row for _, row, _ in places), min(col for _, _, col in places)
    height = max(row + source.height for source, row, _ in places) - first_row
    width = max(col + source.width for source, _, col in places) - first_col
    root = Xml.Element("VRTDataset", rasterXSize=str(width), rasterYSize=str(height))
    Xml.SubElement(root, "SRS").text = str(first.crs)
    origin = first.transform @ Affine.translation(first_col, first_row)
    a, b, c, d, e, f = origin[:6]
    Xml.SubElement(root, "GeoTransform").text = ", ".join(repr(float(value)) for value in (c, a, b, f, d, e))
    band = Xml.SubElement(root, "VRTRasterBand", dataType="Byte", band="1")
    Xml.SubElement(band, "NoDataValue").text = "0"
    for source, row, col in places:
        _add(band, source, row - first_row, col - first_col, beside)
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode") + "\n"


def _add(band: Xml.Element, source: RasterFile, row: int, col: int, beside: Path) -> None:
    item = Xml.SubElement(band, "ComplexSource")
    name = Xml.SubElement(item, "SourceFilename", relativeToVRT="1")
    name.text = os.path.relpath(source.path.resolve(), beside.resolve())
    Xml.SubElement(item, "SourceBand").text = "1"
    size = {"xSize": str(source.width), "ySize": str(source.height)}
    Xml.SubElement(item, "SrcRect", {"xOff": "0", "yOff": "0", **size})
    Xml.SubElement(item, "DstRect", {"xOff": str(col), "yOff": str(row), **size})
    Xml.SubElement(item, "NODATA").text = "0"


def _offset(first: Grid, grid: Grid) -> tuple[int, int] | None:
    """Return row and column of a grid's corner on another one; None if they are not aligned."""
    if grid.crs != first.crs:
        return None
    relative = ~first.transform @ grid.transform
    a, b, col, d, e, row = relative[:6]
    if max(abs(a - 1), abs(b), abs(d), abs(e - 1)) * max(grid.height, grid.width) > _CLOSE:
        return None
    if abs(col - round(col)) > _CLOSE or abs(row - round(row)) > _CLOSE:
        return None
    return round(row), round(col)
