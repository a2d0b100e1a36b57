"""How much a source has to train networks on, and networks that follow from it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from c2seg.artifacts.runs import SourceSizeRecord
from c2seg.data import LabeledCity
from c2seg.data.city import blocks
from c2seg.legend import Legend
from c2seg.pipeline.prepare import Prepared
from c2seg.recipes import Recipe
from c2seg.recipes.changes import resized
from c2seg.recipes.schema import SmallSource

__all__ = ["fitted_to_source", "independent_cells", "source_size"]

CELL_PX = 8
"""Side of a cell whose pixels of a class count as one: neighbors are alike."""
_BLOCK = 512  # a multiple of CELL_PX
_FEW = 2000  # cells below which networks are told to be weak, whatever the recipe does about it


def fitted_to_source(recipe: Recipe, prepared: Prepared) -> tuple[Recipe, SourceSizeRecord]:
    """Return the recipe with networks as long, wide and heavy as the sources can train, and the record of it.

    Without ``small_source`` the recipe is unchanged, and the record says what there is.
    """
    cells = sum(independent_cells(source.city, prepared.legend) for source in prepared.sources)
    size = source_size(cells, prepared.labeled_pixels, recipe.small_source)
    fitted = resized(recipe, length=size.length, width=size.width)
    if fitted.forest is not None and size.beside_forest != 1.0:
        weight = round(1 - size.beside_forest * (1 - fitted.forest.weight), 3)
        fitted = fitted.model_copy(update={"forest": fitted.forest.model_copy(update={"weight": weight})})
    return fitted, size


def source_size(cells: int, labeled_pixels: int, settings: SmallSource | None) -> SourceSizeRecord:
    """Return the factors of length, width and weight for sources with so many cells: (cells / settings.cells)^power, between
    ``least`` and 1."""
    share = 1.0 if settings is None else max(settings.least, min(1.0, (cells / settings.cells) ** settings.power))
    factor = round(share, 3)
    factors = {name: factor if settings and name in settings.changes else 1.0 for name in ("length", "width", "forest")}
    return SourceSizeRecord(
        labeled_pixels=labeled_pixels,
        cells=cells,
        length=factors["length"],
        width=factors["width"],
        beside_forest=factors["forest"],
        notes=_notes(cells, labeled_pixels, factors),
    )


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


def _notes(cells: int, labeled_pixels: int, factors: Mapping[str, float]) -> tuple[str, ...]:
    what = f"{labeled_pixels} labeled pixels of the sources are in {cells} cells of {CELL_PX} x {CELL_PX} pixels and one class"
    texts = {
        "length": "train {} times as long",
        "width": "are {} times as wide",
        "forest": "weigh {} times as much beside a forest",
    }
    smaller = [texts[name].format(f"{factor:g}") for name, factor in factors.items() if factor < 1]
    if smaller:
        return (f"{what}: networks {', '.join(smaller)} as the recipe says",)
    if cells >= _FEW:
        return ()
    return (
        f"{what}: few for networks; compare with the recipe forest, or give the forest more weight (`forest.choose_weight`)",
    )
