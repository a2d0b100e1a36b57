"""What a path is that was given where a city is wanted: hints for swapped arguments."""

from __future__ import annotations

from pathlib import Path

from c2seg.raster.downloads import UNFINISHED, archive_problem, download_problem

__all__ = ["kind_hint"]

_RASTERS = {".tif", ".tiff", ".vrt", ".png", ".nc", ".img", ".dat"}

_IMAGES = {".tif", ".tiff", ".vrt", ".nc", ".img", ".dat", ".jp2"}
"""Rasters of which ``c2seg init`` makes a city."""


def kind_hint(path: Path) -> str | None:
    """Return what a path that is no city is, with what to do: a model, a run, rasters, an archive; None: something else."""
    if path.is_file() and path.suffix.lower() in UNFINISHED:
        return download_problem(path)
    if path.is_file() and path.suffix.lower() == ".zip":
        return archive_problem(path) or f"{path} is an archive; unpack it, and give the folder of a city"
    if path.suffix.lower() in {".safetensors", ".onnx"}:
        return f"{path} is a model; give a city here (the model comes first: c2seg predict MODEL CITY)"
    if path.is_dir() and any((path / name).is_file() for name in ("model.safetensors", "record.json", "recipe.yaml")):
        return f"{path} is a run folder; give a city here"
    if path.is_file() and path.suffix.lower() in _RASTERS:
        if any((path.parent / name).is_file() for name in ("city.yaml", "msi.tif", "hsi.tif", "sar.tif")):
            return f"{path} is a raster, not a city; give the folder that it lies in, {path.parent}"
        return f"{path} is a raster, not a city; a city is a folder with msi.tif and others, or with a city.yaml"
    if path.is_dir() and any(child.suffix.lower() in _IMAGES for child in path.iterdir()):
        return f"{path} holds rasters and no city.yaml says what they are: c2seg init {path} writes one"
    return None
