"""Describe a folder of rasters as a city.yaml: from the files and what they say of themselves, with what remains uncertain."""

from __future__ import annotations

from c2seg.data.describing.folder import FolderDescription, describe_folder

__all__ = ["FolderDescription", "describe_folder"]
