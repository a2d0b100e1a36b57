"""A figure of single tiles, one row each: an image in false color, the ground truth if there is one, and maps side by side."""

from __future__ import annotations

import base64
import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine

from c2seg.data import Scene
from c2seg.data.composites import Composite, composites
from c2seg.errors import InputError
from c2seg.legend import Legend
from c2seg.metrics import Reference
from c2seg.metrics.pairs import unplaced_side
from c2seg.outputs import atomic_file
from c2seg.raster import RasterFile
from c2seg.report.figure import WIDTH_INCHES, colored, draw_legend, panel_letter, save_figure
from c2seg.report.imagery import Sampling, picture, sample
from c2seg.report.layers import to_class_ids
from c2seg.report.views import class_colors
from c2seg.types import Grid, Window

__all__ = ["TileRow", "map_panel", "reference_panel", "tile_figure_uri", "tile_image", "write_tile_figure"]

_TITLE_POINTS = 6.5
_ROW_INCHES, _TITLE_INCHES, _LINE_INCHES = 0.2, 0.14, 0.11
_DPI = 400


@dataclass(frozen=True)
class TileRow:
    """A row of the figure: what it shows, and its panels, fractions [h, w, 3] under their titles."""

    title: str
    panels: tuple[tuple[str, np.ndarray], ...]


def tile_image(scene: Scene, window: Window) -> tuple[str, np.ndarray]:
    """Return the panel of a tile in false color, white where not valid; of cities without infrared, what can be shown.

    Raises InputError if no pixel of the tile is valid.
    """
    shown = _cut(scene, window)
    composite = _false_color(scene)
    rgba = picture(shown, composite, Sampling(shown.grid, window.height, window.width)).astype(np.float32) / 255.0
    if not rgba[..., 3].any():
        raise InputError(f"no pixel of that tile of {scene.name} is valid: there is nothing to show")
    rgba[..., :3][rgba[..., 3] == 0] = 1.0
    return composite.title.split(" (")[0], rgba[..., :3]


def map_panel(
    title: str, path: Path, window: Window, legend: Legend, palette: str = "default"
) -> tuple[str, np.ndarray]:
    """Return the panel of a map of the whole scene."""
    return title, colored(RasterFile(path).read(window)[0], class_colors(legend, palette))


def reference_panel(
    reference: Reference, grid: Grid, window: Window, legend: Legend, palette: str = "default"
) -> tuple[str, np.ndarray]:
    """Return the panel of the ground truth of a scene on ``grid``."""
    source = reference.open(grid)
    if unplaced_side(grid, "the map", source):
        axes = np.arange(window.row, window.row_end), np.arange(window.col, window.col_end)
    else:
        axes = Sampling(_cut_grid(grid, window), window.height, window.width).axes(source.grid)
    values, inside = sample(source, axes, (0,))
    ids = to_class_ids(np.where(inside, values[0], values.dtype.type(0)), source, reference.code)
    return "Reference", colored(ids, class_colors(legend, palette))


def write_tile_figure(path: Path, rows: Sequence[TileRow], legend: Legend, palette: str = "default") -> None:
    """Write the rows as PNG; equal content gives equal bytes."""
    figure = _draw(rows, legend, palette)
    with atomic_file(path, overwrite=True) as temporary:
        save_figure(figure, temporary, "png", dpi=_DPI)


def tile_figure_uri(rows: Sequence[TileRow], legend: Legend, palette: str = "default", dpi: int = 250) -> str:
    """Return the figure as a data URI (PNG: maps have few colors) for a page."""
    stream = io.BytesIO()
    save_figure(_draw(rows, legend, palette), stream, "png", dpi=dpi)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def _false_color(scene: Scene) -> Composite:
    """Return the false-color picture of the multispectral image, else of another modality, else the first picture."""
    order = sorted(scene.modalities.values(), key=lambda modality: modality.name != "msi")
    shown = [item for modality in order for item in composites(modality)]
    return next((item for item in shown if "false color" in item.title), shown[0])


def _cut_grid(grid: Grid, window: Window) -> Grid:
    moved = grid.transform @ Affine.translation(window.col, window.row)
    return Grid(window.height, window.width, moved, grid.crs)


def _cut(scene: Scene, window: Window) -> Scene:
    """Return the part of a scene that a window covers, with all its modalities."""

    def relation(layer: Any) -> Any:
        old = layer.relation
        rows, cols = old.row_offset - window.row, old.col_offset - window.col
        return replace(layer, relation=replace(old, row_offset=rows, col_offset=cols))

    modalities: Mapping[str, Any] = {name: relation(layer) for name, layer in scene.modalities.items()}
    valid = relation(scene.valid) if scene.valid is not None else None
    return replace(scene, grid=_cut_grid(scene.grid, window), modalities=modalities, valid=valid, tiles=None)


def _draw(rows: Sequence[TileRow], legend: Legend, palette: str) -> Any:
    from matplotlib.figure import Figure

    columns = max(len(row.panels) for row in rows)
    side = WIDTH_INCHES / columns
    letters = max(8, int(side * 72 / (0.55 * _TITLE_POINTS)))
    titles = [_titles(row, letters) for row in rows]
    above = [_TITLE_INCHES + _LINE_INCHES * max(title.count("\n") for title in line) for line in titles]
    legend_columns = max(1, int(WIDTH_INCHES / 1.4))
    below = 0.12 + 0.14 * math.ceil(legend.num_classes / legend_columns)
    height = sum(above) + (_ROW_INCHES + side) * len(rows) + below
    figure = Figure(figsize=(WIDTH_INCHES, height))
    top = height
    for row, line, space in zip(rows, titles, above, strict=True):
        figure.text(0.02 / WIDTH_INCHES, (top - 0.14) / height, row.title, fontsize=7.5, parse_math=False)
        top -= _ROW_INCHES + space + side
        margin = (WIDTH_INCHES - len(line) * side) / 2
        for k, (title, (_, image)) in enumerate(zip(line, row.panels, strict=True)):
            box = margin + k * side + 0.02, top + 0.02, side - 0.04, side - 0.04
            axes = figure.add_axes((box[0] / WIDTH_INCHES, box[1] / height, box[2] / WIDTH_INCHES, box[3] / height))
            axes.imshow(image, interpolation="none")
            axes.set_title(title, fontsize=_TITLE_POINTS, pad=2.0, parse_math=False)
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():  # streets are white, and so is what is outside the city
                spine.set(linewidth=0.4, color="0.5")
    draw_legend(figure, legend, palette, columns=legend_columns)
    return figure


def _titles(row: TileRow, letters: int) -> list[str]:
    return [
        "\n".join(textwrap.wrap(f"({panel_letter(k)}) {title}", letters)) for k, (title, _) in enumerate(row.panels)
    ]
