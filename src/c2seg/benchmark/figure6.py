"""Figure 6 of the challenge's paper: a test tile in false color; its maps from each modality alone, from all, and adapted."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from c2seg.benchmark.pairs import Pair
from c2seg.benchmark.plan import Run
from c2seg.data import City, Scene, open_city
from c2seg.data.published import DATASETS, challenge_tiles
from c2seg.errors import InputError
from c2seg.legend import Legend, c2seg13
from c2seg.metrics import map_legend, open_references
from c2seg.raster import RasterFile
from c2seg.report.tile_figure import TileRow, map_panel, reference_panel, tile_figure_uri, tile_image, write_tile_figure
from c2seg.types import Window

__all__ = ["FIGURE_RECIPES", "Figure6", "figure_recipes", "figure_runs", "make_figure6"]

FIGURE_RECIPES = ("mmuda-ensemble", "mmuda")
"""The second place's, whose maps the paper shows: one trained on each modality alone and on all, and one adapted."""

_FIGURE = 6
_PUBLISHED_TILES = {"C2Seg-AB": 5, "C2Seg-BW": 4}
_OTHERS = "C2Seg-AB"
"""The dataset whose tiles other cities are cut into."""
_ORDER = ("hsi", "msi", "sar")

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Figure6:
    """The figure: its file, and what a page shows of it."""

    path: Path
    title: str
    uri: str


def figure_recipes(figure: int | None, table: str | None, recipes: Sequence[str] | None) -> tuple[str, str] | None:
    """Return the two recipes of a figure: those that are given, unless they are a table's; None without a figure.

    Raises InputError for another figure than 6, or another number of recipes.
    """
    if figure is None:
        return None
    if figure != _FIGURE:
        raise InputError(f"figure {figure} is not one that can be made: give {_FIGURE}")
    if recipes is None or table is not None:
        return FIGURE_RECIPES
    if len(recipes) != len(FIGURE_RECIPES):
        raise InputError(
            "figure 6 shows two recipes, one trained on each modality alone and on all, and an adapted one, such as "
            f"{','.join(FIGURE_RECIPES)}; {len(recipes)} given"
        )
    return recipes[0], recipes[1]


def figure_runs(runs: Sequence[Run], recipes: tuple[str, str]) -> list[Run]:
    """Return those of a plan that the figure shows: of the first seed, the first recipe on each modality alone and on all, and
    the second. Raises InputError without a pair of two cities.
    """
    whole, adapted = recipes
    across = [run for run in runs if run.seed == 0 and not run.pair.inside]
    if not across:
        raise InputError("figure 6 shows a test city: give a pair of a source and a target")
    return [
        run
        for run in across
        if (run.recipe == whole and "+" not in run.inputs) or (run.recipe == adapted and run.inputs == "default")
    ]


def make_figure6(path: Path, runs: Sequence[Run], palette: str = "default") -> Figure6:
    """Write the figure as PNG, one row for each pair; ``runs`` are those of ``figure_runs`` that did not fail.

    It shows the paper's tile, or the next one with data. Raises InputError where no map is.
    """
    rows: list[TileRow] = []
    legend = None
    for pair in dict.fromkeys(run.pair for run in runs):
        there = [run for run in runs if run.pair == pair and run.map.is_file()]
        if not there:
            _LOG.warning("figure 6: %s has no map of one scene and is left out", pair.name)
            continue
        legend = legend or map_legend(RasterFile(there[0].map)) or c2seg13()
        rows.append(_row(pair, there, legend, palette))
    if legend is None:
        raise InputError("figure 6 has no map to show: the target is no one scene")
    write_tile_figure(path, rows, legend, palette)
    title = f"Figure 6: {'; '.join(row.title for row in rows)}"
    return Figure6(path, title, tile_figure_uri(rows, legend, palette))


def _row(pair: Pair, runs: Sequence[Run], legend: Legend, palette: str) -> TileRow:
    """Return the row of a pair's tile."""
    city = open_city(pair.target)
    (scene,) = city.scenes
    dataset = _dataset(city)
    number, window = _tile(scene, dataset or _OTHERS)
    panels = [tile_image(scene, window)]
    if pair.reference is not None:
        (reference, *_) = open_references(pair.reference)
        panels.append(reference_panel(reference, scene.grid, window, legend, palette))
    panels += [map_panel(title, run.map, window, legend, palette) for title, run in _titled(runs)]
    name = f"{dataset[-2:]}, {city.name}" if dataset else city.name
    return TileRow(f"{name}, tile {number}", tuple(panels))


def _titled(runs: Sequence[Run]) -> Iterator[tuple[str, Run]]:
    """Yield the runs under the titles of their panels, in the order of the paper."""
    single = [run for run in runs if run.inputs != "default"]
    rank = {name: place for place, name in enumerate(_ORDER)}
    yield from (
        (f"{run.inputs.upper()} alone", run) for run in sorted(single, key=lambda run: rank.get(run.inputs, len(rank)))
    )
    whole = [run for run in runs if run.inputs == "default"]
    yield from ((f"{'adapted' if run.uses_target else 'multimodal'}: {run.recipe}", run) for run in whole)


def _dataset(city: City) -> str | None:
    """Return the dataset whose bands a city has; None for another city."""
    bands = city.band_counts(city.modality_names)
    return next((name for name, facts in DATASETS.items() if facts.bands() == bands), None)


def _tile(scene: Scene, dataset: str) -> tuple[int, Window]:
    """Return the paper's tile, or the next one that has data: its number and place.

    Tiles are those of the release, else those in which the challenge would score the city.
    """
    tiles = scene.tiles or challenge_tiles(dataset, scene.grid.height, scene.grid.width)
    windows = list(tiles.windows())
    for number in range(_PUBLISHED_TILES[dataset], _PUBLISHED_TILES[dataset] + tiles.count):
        window = windows[number % tiles.count]
        if scene.read_valid(tuple(scene.modalities), window).any():
            return number % tiles.count, window
    raise InputError(f"no pixel of {scene.name} has data: figure 6 has nothing to show")
