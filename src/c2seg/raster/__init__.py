"""Georeferenced rasters: windowed reading and writing, relations of grids, maps as cloud-optimized GeoTIFF."""

from __future__ import annotations

from c2seg.raster.bands import FileBand
from c2seg.raster.cog import RasterTags, write_cog, write_map
from c2seg.raster.digests import files_digest, short
from c2seg.raster.grids import GridRelation, relate_grids
from c2seg.raster.opening import data_files, open_raster
from c2seg.raster.reading import ArrayRaster, RasterFile, RasterSource, read_boundless
from c2seg.raster.style import write_qml

__all__ = [
    "ArrayRaster",
    "FileBand",
    "GridRelation",
    "RasterFile",
    "RasterSource",
    "RasterTags",
    "data_files",
    "files_digest",
    "open_raster",
    "read_boundless",
    "relate_grids",
    "short",
    "write_cog",
    "write_map",
    "write_qml",
]
