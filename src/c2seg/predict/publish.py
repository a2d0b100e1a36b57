"""Make the final files of a map from its finished rows, check them, and put them in their places."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from c2seg.errors import C2SegError, OutputError
from c2seg.legend import Legend
from c2seg.outputs import fsync_path
from c2seg.predict.layers import LAYER_NODATA
from c2seg.predict.scratch import RowReader, Scratch
from c2seg.raster import RasterTags, write_cog, write_map
from c2seg.types import Grid

__all__ = ["make_files", "move_files"]

_ROWS = 512
_PREVIEW_PX = 1024


def make_files(
    scratch: Scratch,
    grid: Grid,
    legend: Legend,
    places: Mapping[str, Path],
    palette: str,
    model: str,
    ids: np.ndarray | None = None,
) -> list[tuple[Path, Path]]:
    """Make the files of ``places`` (by layer, ``ids`` is the map) in the scratch folder; return where each belongs.

    ``ids`` uint8 [H, W] is the map where it is not that of the rows. Each raster is read back and compared with its rows: not
    every write error of GDAL is reported. Whether the rows are those that were written, ``scratch`` knows afterwards. Raises
    OutputError.
    """
    tags = {"MODEL": model, "SOFTWARE": "c2seg"}
    made = []
    for layer, place in places.items():
        path = scratch.folder / f"{layer}{'.png' if layer == 'preview' else '.tif'}"
        made.append((path, place))
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
        _verify(path, read, grid)
    if "preview" in places:
        _write_preview(scratch.folder / "preview.png", scratch.folder / "ids.tif", legend, palette)
    return made


def move_files(files: list[tuple[Path, Path]]) -> None:
    """Rename files to their places, in order. Raises C2SegError naming where a finished file is kept."""
    for path, place in files:
        try:
            os.replace(path, place)
        except OSError as error:
            raise C2SegError(f"cannot write {place}: {error.strerror}; the finished file is kept in {path}") from error


def _with_bands(rows: RowReader) -> RowReader:
    """Return a reader [C, rows, W] of rows [rows, W] or [rows, C, W]."""

    def read(first: int, last: int) -> np.ndarray:
        values = rows(first, last)
        return values.transpose(1, 0, 2) if values.ndim == 3 else values[None]

    return read


def _array_reader(ids: np.ndarray) -> RowReader:
    return lambda first, last: ids[None, first:last]


def _verify(path: Path, read: RowReader, grid: Grid) -> None:
    import rasterio
    from rasterio.errors import RasterioError

    try:
        with rasterio.open(path) as dataset:
            whole = all(
                np.array_equal(dataset.read(window=((first, last), (0, grid.width))), read(first, last))
                for first in range(0, grid.height, _ROWS)
                for last in [min(first + _ROWS, grid.height)]
            )
    except RasterioError:
        whole = False
    if not whole:
        path.unlink(missing_ok=True)
        raise OutputError(
            f"cannot write {path}: what was written reads back differently (disk full?); finished rows are kept: "
            "make room and run the same command to resume"
        )


def _write_preview(path: Path, source: Path, legend: Legend, palette: str) -> None:
    """Write a PNG of the map, its longer side at most 1024 pixels, nodata transparent."""
    import rasterio
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    with rasterio.open(source) as dataset:
        factor = max(1.0, max(dataset.shape) / _PREVIEW_PX)
        ids = dataset.read(1, out_shape=tuple(max(1, round(side / factor)) for side in dataset.shape))
    colors = np.zeros((256, 4), np.uint8)
    for value, color in legend.colors(palette).items():
        colors[value] = (*color, 255)
    made_by = PngInfo()
    made_by.add_text("Software", "c2seg")
    try:
        Image.fromarray(colors[ids]).save(path, "PNG", pnginfo=made_by)
        fsync_path(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}; run the same command to resume") from error
