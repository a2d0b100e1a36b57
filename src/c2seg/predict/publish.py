"""Make the final files of a map from its finished rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from c2seg.legend import Legend
from c2seg.predict.layers import LAYER_NODATA
from c2seg.predict.scratch import RowReader, Scratch
from c2seg.raster import RasterTags, open_raster, write_cog, write_map
from c2seg.types import Grid

__all__ = ["make_files"]

_PREVIEW_PX = 1024


def make_files(
    scratch: Scratch,
    grid: Grid,
    legend: Legend,
    paths: Mapping[str, Path],
    palette: str,
    model: str,
    ids: np.ndarray | None = None,
) -> None:
    """Make the rasters and the preview at ``paths`` (by layer, ``ids`` is the map), over what is there.

    ``ids`` uint8 [H, W] is the map where it is not that of the rows. Whether the rows are those that were written, ``scratch``
    knows afterwards. Raises OutputError.
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
            scale = {"SCALE": "0.005", "UNIT": "probability"}
            write_cog(
                path, read, grid, count=len(bands), dtype=np.uint8, nodata=LAYER_NODATA, overwrite=True,
                tags=RasterTags({**tags, **scale}, [], bands),
            )  # fmt: skip
    if "preview" in paths:
        _write_preview(paths["preview"], paths["ids"], legend, palette)


def _with_bands(rows: RowReader) -> RowReader:
    """Return a reader [C, rows, W] of rows [rows, W] or [rows, C, W]."""

    def read(first: int, last: int) -> np.ndarray:
        values = rows(first, last)
        return values.transpose(1, 0, 2) if values.ndim == 3 else values[None]

    return read


def _array_reader(ids: np.ndarray) -> RowReader:
    return lambda first, last: ids[None, first:last]


def _write_preview(path: Path, source: Path, legend: Legend, palette: str) -> None:
    """Write a PNG of the map, its longer side at most 1024 pixels, nodata transparent."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    with open_raster(source) as dataset:
        factor = max(1.0, max(dataset.shape) / _PREVIEW_PX)
        ids = dataset.read(1, out_shape=tuple(max(1, round(side / factor)) for side in dataset.shape))
    colors = np.zeros((256, 4), np.uint8)
    for value, color in legend.colors(palette).items():
        colors[value] = (*color, 255)
    made_by = PngInfo()
    made_by.add_text("Software", "c2seg")
    Image.fromarray(colors[ids]).save(path, "PNG", pnginfo=made_by)
