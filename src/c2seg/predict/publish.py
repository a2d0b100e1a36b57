"""Make the final files of a map from its finished rows and parts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from c2seg.gis import write_preview
from c2seg.legend import Legend
from c2seg.predict.options import VRT
from c2seg.predict.parts import LayerParts
from c2seg.predict.scratch import RowReader, Scratch
from c2seg.raster import assemble_cog, write_map
from c2seg.types import Grid, Window

__all__ = ["make_files"]


def make_files(
    scratch: Scratch,
    grid: Grid,
    legend: Legend,
    paths: Mapping[str, Path],
    places: Mapping[str, Path],
    palette: str,
    model: str,
    ids: np.ndarray | None = None,
    title: str = "Land cover",
) -> None:
    """Make the rasters and the preview at ``paths`` (by layer, ``ids`` is the map), over what is there.

    They will lie at ``places``. ``title`` is that of the preview. ``ids`` uint8 [H, W] is the map where it is not that of the
    rows. Whether the rows are those that were written, ``scratch`` knows afterwards. Raises OutputError.
    """
    read = _with_bands(scratch.reader("ids")) if ids is None else _array_reader(ids)
    tags = {"MODEL": model, "SOFTWARE": "c2seg"}
    write_map(paths["ids"], read, grid, legend, overwrite=True, tags=tags, palette=palette)
    for parts in scratch.parts.layers:
        if parts.layer in paths:
            _make_layer(scratch, parts, paths[parts.layer], places[parts.layer])
    if "preview" in paths:
        write_preview(paths["preview"], paths["ids"], grid, legend, palette, title)


def _make_layer(scratch: Scratch, parts: LayerParts, path: Path, place: Path) -> None:
    """Assemble a layer of its parts; or write what opens them as one raster, where they stay."""
    if path.suffix.lower() == VRT:
        path.write_text(parts.text(scratch.strips, place.parent), encoding="utf-8")
        return
    width = parts.grid.width
    sums = {Window(first, 0, last - first, width): total for (first, last), total in scratch.sums(parts.layer).items()}
    assemble_cog(path, parts.text(scratch.strips), parts.grid, sums, overwrite=True)


def _with_bands(rows: RowReader) -> RowReader:
    """Return a reader [1, rows, W] of rows [rows, W]."""
    return lambda first, last: rows(first, last)[None]


def _array_reader(ids: np.ndarray) -> RowReader:
    return lambda first, last: ids[None, first:last]
