"""Simulated cities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

from c2seg import simulate
from c2seg.api.arguments import FilePath, as_path
from c2seg.api.converting import CityLayout
from c2seg.data import City, LabeledCity, TileGrid, open_city, open_labeled_city, write_mat, write_tiles
from c2seg.data.published import DATASETS
from c2seg.errors import InputError, unknown_name
from c2seg.outputs import Output, check_outputs, commit, make_folder, working_folder
from c2seg.progress import Bars, ShowProgress, opened_bars
from c2seg.simulate import DEFAULT_SHIFT, CityInfo, PairInfo

__all__ = ["simulate_pair"]


def simulate_pair(
    out: FilePath,
    *,
    pair: str = "ab",
    scale: float = 0.25,
    seed: int = 0,
    shift: float = DEFAULT_SHIFT,
    parameters: Mapping[str, float] | None = None,
    source_layout: FilePath | None = None,
    target_layout: FilePath | None = None,
    layout: CityLayout = "folder",
    overwrite: bool = False,
    progress: ShowProgress = False,
) -> PairInfo:
    """Write two cities with a known ground truth and a known difference to ``out/<name>/``.

    Args:
        out: The folder of both. Each city has images, ``label.tif``, ``valid.tif`` and ``reference.tif`` (without faults).
        pair: Sensors and sizes: ``ab`` (HSI at 10 m) or ``bw`` (HSI at 30 m).
        scale: Sides in pixels relative to the real scenes, up to 1.
        seed: Of everything random; its thousands choose one of four families of layouts and shifts.
        shift: Size of the difference, 0..1: every parameter at once.
        parameters: Single parameters of the difference, 0..1 by name (``docs/simulator.md``).
        source_layout: A class raster (uint8, 0..13) in place of an invented source.
        target_layout: The same for the target.
        layout: ``folder`` of rasters; or ``tiles`` or ``mat``, arranged as the releases of C2Seg: folders
            ``C2Seg_AB/train`` (with labels) and ``C2Seg_AB/test`` (without), or files ``NAME_multimodal.mat`` with labels.
            They hold neither ``valid.tif`` nor ``reference.tif``, and no wavelengths.
        overwrite: Replace existing cities.
        progress: False, True for bars, or a callable.

    Returns:
        What was written: ``source.path`` and ``target.path`` are the cities.

    Raises:
        InputError: A value out of range.
        OutputError: A file exists.
        MissingExtraError: It needs the extra ``simulate``.
    """
    given = {"source": source_layout, "target": target_layout}
    layouts: dict[str, Path] = {role: as_path(path) for role, path in given.items() if path is not None}
    place = as_path(out)
    with opened_bars(progress) as bars:
        make = partial(
            simulate.simulate_pair,
            pair=pair,
            scale=scale,
            seed=seed,
            shift=shift,
            parameters=parameters,
            progress=bars("simulate"),
            layouts=layouts,
        )
        if layout == "folder":
            return make(place, overwrite=overwrite)
        return _in_layout(place, layout, pair, make, overwrite, bars)


def _in_layout(
    out: Path, layout: CityLayout, pair: str, make: Callable[[Path], PairInfo], overwrite: bool, bars: Bars
) -> PairInfo:
    """Simulate into a folder that is removed, and write both cities in another layout from there."""
    if layout not in get_args(CityLayout):
        raise InputError(unknown_name("layout", layout, get_args(CityLayout)))
    places = _places(out, layout, pair)
    cities = [Output(place, is_folder=layout == "tiles") for place in places]
    check_outputs([*cities, Output(out / "pair.yaml")], overwrite=overwrite)
    make_folder(out)
    with working_folder(out) as work:
        info = make(work / "pair")
        for city, place in zip((info.source, info.target), places, strict=True):
            labeled = layout == "mat" or city.role == "source"
            images: City | LabeledCity = open_labeled_city(city.path) if labeled else open_city(city.path)
            make_folder(place.parent)
            if layout == "mat":
                write_mat(images, place, hdf5=pair == "bw", overwrite=overwrite, progress=bars(f"{city.name}.mat"))
            else:
                tiles = _tiles(city, pair)
                write_tiles(images, place, tiles, overwrite=overwrite, progress=bars(f"tiles of {city.name}"))
        with commit(overwrite=overwrite) as files:
            files.text(out / "pair.yaml", (work / "pair" / "pair.yaml").read_text(encoding="utf-8"), main=True)
    source, target = (replace(city, path=place) for city, place in zip((info.source, info.target), places, strict=True))
    return replace(info, out=out, source=source, target=target)


def _places(out: Path, layout: CityLayout, pair: str) -> list[Path]:
    """Return where source and target go, arranged as in the releases."""
    names = simulate.city_names(pair)
    if layout == "tiles":
        return [out / f"C2Seg_{pair.upper()}" / split for split in ("train", "test")]
    suffix = "_multimodal.mat" if pair == "ab" else ".mat"
    return [out / f"{name}{suffix}" for name in names]


def _tiles(city: CityInfo, pair: str) -> TileGrid:
    """Return the tiling of the release; a city that is smaller than a tile has smaller tiles."""
    tile = DATASETS[f"C2Seg-{pair.upper()}"].tile_px
    while tile > min(city.height, city.width):
        tile //= 2
    return TileGrid(city.height, city.width, tile, tile // 2 if city.role == "source" else tile)
