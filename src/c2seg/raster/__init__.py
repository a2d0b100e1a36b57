"""Georeferenced rasters: windowed reading and writing, relations of grids, maps as cloud-optimized GeoTIFF."""

from __future__ import annotations

from c2seg.raster.cog import RasterTags, write_cog, write_map
from c2seg.raster.grids import GridRelation, relate_grids
from c2seg.raster.reading import ArrayRaster, RasterFile, RasterSource, read_boundless
from c2seg.raster.style import write_qml

__all__ = [
    "ArrayRaster",
    "GridRelation",
    "RasterFile",
    "RasterSource",
    "RasterTags",
    "read_boundless",
    "relate_grids",
    "write_cog",
    "write_map",
    "write_qml",
]
