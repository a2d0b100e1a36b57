"""What a GIS user needs beside a map: legend, preview, table of areas, polygons, a STAC item, one folder with everything."""

from __future__ import annotations

from c2seg.gis.preview import write_preview
from c2seg.gis.side_files import FinishedMap, SideFiles, add_side_files
from c2seg.gis.stac import ModelFacts

__all__ = ["FinishedMap", "ModelFacts", "SideFiles", "add_side_files", "write_preview"]
