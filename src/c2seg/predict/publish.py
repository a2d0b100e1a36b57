"""Make the final files of a map from its finished rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from c2seg.gis import write_preview
from c2seg.legend import Legend
from c2seg.predict.layers import LAYER_NODATA, LAYER_STEPS
from c2seg.predict.scratch import RowReader, Scratch
from c2seg.raster import RasterTags, write_cog, write_map
from c2seg.types import Grid

__all__ = ["make_files"]

_SCALED = 1 / LAYER_STEPS, "1"
"""Scale and unit of probabilities, as GDAL's bands state them."""


def make_files(
    scratch: Scratch,
    grid: Grid,
    legend: Legend,
    paths: Mapping[str, Path],
    palette: str,
    model: str,
    ids: np.ndarray | None = None,
    title: str = "Land cover",
) -> None:
    """Make the rasters and the preview at ``paths`` (by layer, ``ids`` is the map), over what is there.

    ``title`` is that of the preview. ``ids`` uint8 [H, W] is the map where it is not that of the rows. Whether the rows are
    those that were written, ``scratch`` knows afterwards. Raises OutputError.
    """
    tags = {"MODEL": model, "SOFTWARE": "c2seg"}
    for layer, path in paths.items():
        if layer == "preview":
            continue
        read = _with_bands(scratch.reader(layer)) if layer != "ids" or ids is None else _array_reader(ids)
        if layer == "ids":
            write_map(path, read, grid, legend, overwrite=True, tags=tags, palette=palette)
        else:
            bands = {"probabilities": legend.names, "runner_up": ("runner-up", "margin")}.get(layer, (layer,))
            known = {"SCALE": "0.005", "UNIT": "probability"}
            scales, units = zip(*((1.0, "") if band == "runner-up" else _SCALED for band in bands), strict=True)
            write_cog(
                path, read, grid, count=len(bands), dtype=np.uint8, nodata=LAYER_NODATA, overwrite=True,
                tags=RasterTags({**tags, **known}, [], bands, scales, units),
            )  # fmt: skip
    if "preview" in paths:
        write_preview(paths["preview"], paths["ids"], grid, legend, palette, title)


def _with_bands(rows: RowReader) -> RowReader:
    """Return a reader [C, rows, W] of rows [rows, W] or [rows, C, W]."""

    def read(first: int, last: int) -> np.ndarray:
        values = rows(first, last)
        return values.transpose(1, 0, 2) if values.ndim == 3 else values[None]

    return read


def _array_reader(ids: np.ndarray) -> RowReader:
    return lambda first, last: ids[None, first:last]
