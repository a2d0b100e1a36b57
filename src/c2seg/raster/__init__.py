"""Georeferenced rasters: windowed reading and writing, relations of grids, maps as cloud-optimized GeoTIFF."""

from __future__ import annotations

from c2seg.raster.attributes import attributes_text
from c2seg.raster.bands import FileBand, bands_of
from c2seg.raster.checked import CheckedRaster, raster_faults
from c2seg.raster.cog import RasterTags, assemble_cog, write_cog, write_map
from c2seg.raster.digests import files_digest, short
from c2seg.raster.grids import GridRelation, relate_grids
from c2seg.raster.mosaics import mosaic_groups, mosaic_text
from c2seg.raster.objects import is_object, object_names, object_path, object_text, object_url
from c2seg.raster.opening import GDAL_ERRORS, data_files, open_raster, without_georeference
from c2seg.raster.parts import RasterPart, part_bytes, parts_text
from c2seg.raster.reading import ArrayRaster, RasterFile, RasterSource, read_boundless
from c2seg.raster.sensors import KnownBand, KnownBands, known_bands
from c2seg.raster.stacked import StackedFiles
from c2seg.raster.stored import put_whole, remove_stored, stored_folders, stored_marks, stored_text, sync_stored
from c2seg.raster.style import level_qml_text, qml_text, write_qml

__all__ = [
    "GDAL_ERRORS",
    "ArrayRaster",
    "CheckedRaster",
    "FileBand",
    "GridRelation",
    "KnownBand",
    "KnownBands",
    "RasterFile",
    "RasterPart",
    "RasterSource",
    "RasterTags",
    "StackedFiles",
    "assemble_cog",
    "attributes_text",
    "bands_of",
    "data_files",
    "files_digest",
    "is_object",
    "known_bands",
    "level_qml_text",
    "mosaic_groups",
    "mosaic_text",
    "object_names",
    "object_path",
    "object_text",
    "object_url",
    "open_raster",
    "part_bytes",
    "parts_text",
    "put_whole",
    "qml_text",
    "raster_faults",
    "read_boundless",
    "relate_grids",
    "remove_stored",
    "short",
    "stored_folders",
    "stored_marks",
    "stored_text",
    "sync_stored",
    "without_georeference",
    "write_cog",
    "write_map",
    "write_qml",
]
