"""The files of a prepared city, made of its finished pieces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from c2seg.prepare.engine import Job
from c2seg.prepare.layer import ImageLayer
from c2seg.prepare.scratch import STRIP_PX, Scratch
from c2seg.raster import RasterTags, relate_grids, write_cog
from c2seg.types import Grid, Window

__all__ = ["city_text", "write_image", "write_valid"]

Drawn = Callable[[int], None]


def write_image(path: Path, job: Job, scratch: Scratch, drawn: Drawn) -> None:
    """Write a modality as a cloud-optimized GeoTIFF. Raises DamagedPieceError; ``drawn`` is told the rows that are written."""
    layer, file = job.layer, job.file

    def rows(first: int, last: int) -> np.ndarray:
        values = np.empty((file.count, last - first, file.width), file.dtype)
        for number, window in _of_rows(job, first, last):
            values[:, :, window.col : window.col_end] = scratch.checked(file, number, window)[0]
        drawn(last)
        return values

    encoding = layer.encoding
    tags = RasterTags(
        {"SOFTWARE": "c2seg", "SENSOR": layer.products[0].facts.sensor},
        [_band_tags(layer, number) for number in range(file.count)],
        [band.name for band in layer.bands],
        scale=encoding.scale,
        unit="" if layer.unit == "raw" else layer.unit,
    )
    write_cog(
        path, rows, layer.grid, count=file.count, dtype=file.dtype, nodata=encoding.nodata, overwrite=True, tags=tags,
        resampling="AVERAGE",
    )  # fmt: skip


def write_valid(path: Path, jobs: Sequence[Job], grid: Grid, scratch: Scratch) -> float:
    """Write where all modalities are valid, uint8 0 or 1, and return the share of such pixels. Raises DamagedPieceError."""
    readers = [_validity(job, grid, scratch) for job in jobs]
    total = 0

    def rows(first: int, last: int) -> np.ndarray:
        nonlocal total
        valid: np.ndarray = np.logical_and.reduce([read(first, last) for read in readers])
        total += int(valid.sum())
        return valid[None].astype(np.uint8)

    tags = RasterTags({"SOFTWARE": "c2seg"}, [], ["valid"])
    write_cog(path, rows, grid, count=1, dtype=np.uint8, nodata=None, overwrite=True, tags=tags)
    return total / (grid.height * grid.width)


def city_text(name: str, layers: Sequence[ImageLayer], *, labeled: bool) -> str:
    """Return the content of city.yaml."""
    modalities: dict[str, Any] = {}
    for layer in layers:
        modalities[layer.name] = {
            "file": f"{layer.name}.tif",
            "bands": [
                {
                    key: value
                    for key, value in (
                        ("name", band.name),
                        ("role", band.role),
                        ("wavelength_nm", band.wavelength_nm),
                        ("fwhm_nm", band.fwhm_nm),
                    )
                    if value is not None
                }
                for band in layer.bands
            ],
            "scale": layer.encoding.scale,
        }
    content: dict[str, Any] = {"name": name, "legend": "c2seg13", "modalities": modalities}
    if labeled:
        content["label"] = "label.tif"
    content["valid"] = "valid.tif"
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _of_rows(job: Job, first: int, last: int) -> list[tuple[int, Window]]:
    """Return the pieces of one strip, numbered."""
    return [(n, w) for n, w in enumerate(job.file.windows) if (w.row, w.row_end) == (first, last)]


def _band_tags(layer: ImageLayer, number: int) -> dict[str, str]:
    band = layer.bands[number]
    tags = {"role": band.role or ""}
    if band.wavelength_nm is not None:
        tags |= {"wavelength": f"{band.wavelength_nm:g}", "wavelength_units": "nm"}
    if band.fwhm_nm is not None:
        tags |= {"fwhm": f"{band.fwhm_nm:g}"}
    return {key: value for key, value in tags.items() if value}


def _validity(job: Job, grid: Grid, scratch: Scratch) -> Callable[[int, int], np.ndarray]:
    """Return a reader of a modality's validity on the fine grid, bool [rows, W], from top to bottom."""
    relation = relate_grids(grid, job.layer.grid, "the grid", job.layer.name)
    strips: dict[int, np.ndarray] = {}

    def strip(top: int) -> np.ndarray:
        if top not in strips:
            strips.clear()
            valid = np.zeros((min(STRIP_PX, job.file.height - top), job.file.width), bool)
            for number, window in _of_rows(job, top, top + len(valid)):
                valid[:, window.col : window.col_end] = scratch.checked_valid(job.file, number, window)
            strips[top] = valid
        return strips[top]

    def read(first: int, last: int) -> np.ndarray:
        coarse = np.arange(first, last) // relation.ratio
        tops = range(int(coarse[0]) // STRIP_PX * STRIP_PX, int(coarse[-1]) + 1, STRIP_PX)
        parts = []
        for top in tops:
            part = strip(top)
            inside = coarse[(coarse >= top) & (coarse < top + len(part))]
            parts.append(part[inside - top])
        whole: np.ndarray = np.concatenate(parts).repeat(relation.ratio, axis=1)[:, : grid.width]
        return whole

    return read
