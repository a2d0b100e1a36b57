"""How much a source has to train networks on, and networks that follow from it."""

from __future__ import annotations

import numpy as np

from c2seg.artifacts.runs import SourceSizeRecord
from c2seg.data import LabeledCity
from c2seg.data.city import blocks
from c2seg.legend import Legend
from c2seg.pipeline.prepare import Prepared
from c2seg.recipes import Recipe
from c2seg.recipes.schema import SmallSource
from c2seg.recipes.sizes import resized

__all__ = ["chosen_where_small", "fitted_to_source", "independent_cells", "source_size"]

CELL_PX = 8
"""Side of a cell whose pixels of a class count as one: neighbors are alike."""
_BLOCK = 512  # a multiple of CELL_PX
_FEW = 2000  # cells below which networks are told to be weak, whatever the recipe does about it


def fitted_to_source(recipe: Recipe, prepared: Prepared) -> tuple[Recipe, SourceSizeRecord]:
    """Return the recipe with networks as long and wide as the sources can train, and the record of it.

    Without ``small_source`` the recipe is unchanged, and the record says what there is.
    """
    cells = sum(independent_cells(source.city, prepared.legend) for source in prepared.sources)
    size = source_size(cells, prepared.labeled_pixels, recipe.small_source)
    return chosen_where_small(resized(recipe, length=size.length, width=size.width), cells), size


def chosen_where_small(recipe: Recipe, cells: int) -> Recipe:
    """Return the recipe with ``forest.choose_weight: small`` decided for sources with so many cells."""
    if recipe.forest is None or recipe.forest.choose_weight != "small":
        return recipe
    return recipe.model_copy(update={"forest": recipe.forest.model_copy(update={"choose_weight": cells < _FEW})})


def source_size(cells: int, labeled_pixels: int, settings: SmallSource | None) -> SourceSizeRecord:
    """Return the factors of length and width for sources with so many cells: (cells / settings.cells)^power, between
    ``least`` and 1."""
    share = 1.0 if settings is None else max(settings.least, min(1.0, (cells / settings.cells) ** settings.power))
    factor = round(share, 3)
    length, width = (factor if settings and name in settings.changes else 1.0 for name in ("length", "width"))
    notes = _notes(cells, labeled_pixels, length, width)
    return SourceSizeRecord(labeled_pixels=labeled_pixels, cells=cells, length=length, width=width, notes=notes)


def independent_cells(city: LabeledCity, legend: Legend) -> int:
    """Return the number of pairs of a cell of 8 x 8 pixels and a class with a labeled pixel in it."""
    table, count = legend.index_table(), 0
    for index, scene in enumerate(city.images.scenes):
        for window in blocks(scene.grid.window, _BLOCK):
            outputs = table[city.read_label(index, window)]
            count += sum(_cells(outputs == number) for number in range(legend.num_classes))
    return count


def _cells(mask: np.ndarray) -> int:
    """Return the number of cells of bool [H, W] that hold a True."""
    if not mask.any():
        return 0
    rows, cols = (np.arange(0, side, CELL_PX) for side in mask.shape)
    return int(np.logical_or.reduceat(np.logical_or.reduceat(mask, rows, axis=0), cols, axis=1).sum())


def _notes(cells: int, labeled_pixels: int, length: float, width: float) -> tuple[str, ...]:
    if cells >= _FEW and (length, width) == (1.0, 1.0):
        return ()
    what = f"{labeled_pixels} labeled pixels of the sources are in {cells} cells of {CELL_PX} x {CELL_PX} pixels and one class"
    if (length, width) != (1.0, 1.0):
        return (f"{what}: networks train {length:g} times as long and are {width:g} times as wide as the recipe says",)
    return (
        f"{what}: few for networks; compare with the recipe forest, or give the forest more weight (`forest.choose_weight`)",
    )
