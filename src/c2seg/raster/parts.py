"""A raster in parts: bands of its rows as tiled GeoTIFFs, and the virtual raster (VRT) that opens them as one.

Axes: C channel, H row, W column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as Xml

import numpy as np
import rasterio
from rasterio.crs import CRS

from c2seg.raster.cog import RasterTags
from c2seg.raster.opening import without_georeference
from c2seg.types import Grid, Window

__all__ = ["RasterPart", "part_bytes", "parts_text"]

_BLOCK = 512


@dataclass(frozen=True)
class RasterPart:
    """A file that holds rows ``first .. last-1``: ``name`` is its path, as seen from the VRT if that is not absolute."""

    name: str
    first: int
    last: int


def part_bytes(values: np.ndarray, first: int, grid: Grid, tags: RasterTags, nodata: float) -> bytes:
    """Return rows uint8 [C, H, W], from row ``first`` of a grid on, as a GeoTIFF; equal rows give equal bytes."""
    count, rows, _ = values.shape
    place = grid.crop(Window(first, 0, rows, grid.width))
    profile = {
        "driver": "GTiff", "height": rows, "width": grid.width, "count": count, "dtype": "uint8",
        "transform": place.transform, "crs": CRS.from_wkt(grid.crs) if grid.crs else None, "nodata": nodata,
        "tiled": True, "blockxsize": _BLOCK, "blockysize": _block_rows(rows), "interleave": "band",
        "compress": "DEFLATE", "zlevel": 1, "bigtiff": "IF_SAFER",
    }  # fmt: skip
    with without_georeference(), rasterio.MemoryFile() as memory:
        with memory.open(**profile) as dataset:
            dataset.update_tags(**tags.dataset)
            if scales := tags.scales(count):
                dataset.scales = scales
            if units := tags.units(count):
                dataset.units = units
            for band in range(count):  # one by one: a copy of one band at a time
                if tags.descriptions:
                    dataset.set_band_description(band + 1, tags.descriptions[band])
                dataset.write(values[band], band + 1)
        return bytes(memory.getbuffer())


def parts_text(parts: Sequence[RasterPart], grid: Grid, tags: RasterTags, count: int, nodata: float) -> str:
    """Return the text of a VRT of parts that cover a grid from top to bottom, of ``count`` bands of uint8."""
    root = Xml.Element("VRTDataset", rasterXSize=str(grid.width), rasterYSize=str(grid.height))
    if grid.crs:
        Xml.SubElement(root, "SRS").text = grid.crs
    place = grid.transform.to_gdal()
    Xml.SubElement(root, "GeoTransform").text = ", ".join(repr(float(value)) for value in place)
    metadata = Xml.SubElement(root, "Metadata")
    for key, value in tags.dataset.items():
        Xml.SubElement(metadata, "MDI", key=key).text = value
    scales, units = tags.scales(count), tags.units(count)
    for index in range(count):
        band = Xml.SubElement(root, "VRTRasterBand", dataType="Byte", band=str(index + 1))
        if tags.descriptions:
            Xml.SubElement(band, "Description").text = tags.descriptions[index]
        Xml.SubElement(band, "NoDataValue").text = f"{nodata:g}"
        if units:
            Xml.SubElement(band, "UnitType").text = units[index]
        if scales:
            Xml.SubElement(band, "Scale").text = repr(scales[index])
        for part in parts:
            _add(band, part, index + 1, grid.width)
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode") + "\n"


def _add(band: Xml.Element, part: RasterPart, number: int, width: int) -> None:
    source = Xml.SubElement(band, "SimpleSource")
    Xml.SubElement(source, "SourceFilename", relativeToVRT=str(int(not part.name.startswith("/")))).text = part.name
    Xml.SubElement(source, "SourceBand").text = str(number)
    rows = part.last - part.first
    size = {"RasterXSize": str(width), "RasterYSize": str(rows), "DataType": "Byte"}
    # With these, opening the VRT opens no part.
    blocks = {"BlockXSize": str(_BLOCK), "BlockYSize": str(_block_rows(rows))}
    Xml.SubElement(source, "SourceProperties", {**size, **blocks})
    place = {"xOff": "0", "xSize": str(width), "ySize": str(rows)}
    Xml.SubElement(source, "SrcRect", {**place, "yOff": "0"})
    Xml.SubElement(source, "DstRect", {**place, "yOff": str(part.first)})


def _block_rows(rows: int) -> int:
    return min(_BLOCK, -(-rows // 16) * 16)
