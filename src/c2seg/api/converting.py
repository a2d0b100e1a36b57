"""A city in another layout."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from c2seg.api.arguments import FilePath, as_path
from c2seg.data import City, LabeledCity, TileGrid, add_labels, open_city, write_folder, write_mat, write_tiles
from c2seg.data.common_classes import in_common_classes
from c2seg.data.tiling import Order
from c2seg.errors import InputError, unknown_name
from c2seg.legend.crosswalk import land4, load_crosswalk
from c2seg.progress import ShowProgress, opened_bars

__all__ = ["CityLayout", "convert_city"]

CityLayout = Literal["folder", "tiles", "mat"]
_TILE_PX = 128


def convert_city(
    city: FilePath,
    out: FilePath,
    *,
    layout: CityLayout,
    tile_px: int | None = None,
    step_px: int | None = None,
    order: Order = "columns",
    label_map: str | None = None,
    crosswalk: FilePath | None = None,
    overwrite: bool = False,
    progress: ShowProgress = False,
) -> Path:
    """Write a city in another layout, with its labels where it has some. Values do not change.

    A large city is streamed. Tiles and .mat files mark nodata by 0 in all bands, hold the classes of C2Seg, and keep neither
    names nor wavelengths of bands; in tiles every modality has the finest grid.

    Args:
        city: The city, in any layout.
        out: A folder for ``folder`` and ``tiles``; a file ``.mat`` for ``mat``.
        layout: ``folder`` of rasters; ``tiles`` as in the challenge's release; ``mat``, as the full-scene release. A .mat file
            of more than 1 GiB is written in version 7.3, with the label in ``NAME_label.mat``.
        tile_px: Side of the tiles (default: the city's own tiles, else 128).
        step_px: Distance of tiles (default: that of the city's own tiles, else ``tile_px``).
        order: How tiles are numbered: ``columns`` (as released) or ``rows``.
        label_map: Label mapping of the city's labels (default: what the city states). Class ids are written.
        crosswalk: ``land4``, or a YAML file (``c2seg.legend.crosswalk``): classes that the city has in common with others.
        overwrite: Replace what is there.
        progress: False, True for bars, or a callable.

    Returns:
        Path of the new city.

    Raises:
        InputError: An unknown layout, several scenes, a legend that the layout has no place for.
        DataError: Valid pixels that are 0 in all bands, which tiles and .mat files cannot hold.
        OutputError: ``out`` exists.
    """
    if layout not in get_args(CityLayout):
        raise InputError(unknown_name("layout", layout, get_args(CityLayout)))
    if layout != "tiles" and (tile_px or step_px or order != "columns"):
        raise InputError(f"`tile_px`, `step_px` and `order` are of the layout tiles, not of {layout}")
    place, images = as_path(out), open_city(as_path(city))
    source = add_labels(as_path(city), images, label_map) or images
    if crosswalk is not None:
        source = in_common_classes(source, land4() if str(crosswalk) == "land4" else load_crosswalk(as_path(crosswalk)))
    with opened_bars(progress) as bars:
        if layout == "folder":
            write_folder(source, place, overwrite=overwrite, progress=bars("convert"))
        elif layout == "mat":
            if place.suffix.lower() != ".mat":
                raise InputError(f"{place} has no suffix .mat; name the file NAME.mat")
            write_mat(source, place, hdf5=None, overwrite=overwrite, progress=bars("convert"))
        else:
            tiles = _tiling(source, tile_px, step_px, order)
            write_tiles(source, place, tiles, overwrite=overwrite, progress=bars("convert"))
    return place


def _tiling(city: City | LabeledCity, tile_px: int | None, step_px: int | None, order: Order) -> TileGrid:
    """Return the tiles asked for; by default those of the city itself."""
    scene = (city.images if isinstance(city, LabeledCity) else city).scenes[0]
    if scene.tiles is not None and tile_px is None and step_px is None and scene.tiles.order == order:
        return scene.tiles
    side = tile_px or (scene.tiles.tile_px if scene.tiles else _TILE_PX)
    return TileGrid(scene.grid.height, scene.grid.width, side, step_px or side, order)
