"""One split of the challenge's tile release: ``C2Seg_AB/train/{msi,hsi,sar,label}/N.tiff`` is a city.

Folders may be nested once (``hsi/hsi``). Tiles are sorted by number and assembled by the window rule, after it was tested on
them. Other cities than the four published ones need a ``tiles.yaml`` next to the folders::

    {name: Ulm, height: 900, width: 1200, tile_px: 128, step_px: 64, order: columns}

Tiles that follow no rule are opened one by one with ``{name: Ulm, order: none}``: every tile is a scene of its own.

Pixels with 0 in all bands are nodata. The georeference of the tiles is used only if it matches their positions.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from affine import Affine
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from c2seg.data.city import Band, City, Label, Modality, Scene
from c2seg.data.layouts.old_keys import with_present_keys
from c2seg.data.mosaic import TileMosaic, find_order, tile_problem
from c2seg.data.published import ARCHIVES, CITIES, DATASETS, PublishedCity, band_roles, city_of_tiles
from c2seg.data.tiling import Order, TileGrid
from c2seg.documents import read_yaml
from c2seg.errors import C2SegError, DataError, number_ranges, one_line
from c2seg.legend import c2seg13
from c2seg.progress import Progress, no_progress
from c2seg.raster import GridRelation, RasterFile, open_raster
from c2seg.types import Grid, Window

__all__ = ["LOOKS_FOR", "NAME", "check", "images", "labels", "recognize"]

NAME = "challenge tiles"
LOOKS_FOR = "a split of the tile release (folders msi, hsi, sar with tiles N.tiff)"
MODALITIES = ("msi", "sar", "hsi")
GRID_M = 10.0


class TilesFile(BaseModel):
    """The content of tiles.yaml. For the published releases ``label_map`` alone may be given; other cities need the sizes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = None
    height: int | None = Field(default=None, ge=1)
    width: int | None = Field(default=None, ge=1)
    tile_px: int | None = Field(default=None, ge=1)
    step_px: int | None = Field(default=None, ge=1)
    order: Order | Literal["none"] = "columns"
    """``none``: the tiles are not assembled, and sizes are not given."""
    label_map: str = "challenge"

    @model_validator(mode="after")
    def _sizes(self) -> TilesFile:
        sizes = {"height": self.height, "width": self.width, "tile_px": self.tile_px, "step_px": self.step_px}
        given = [name for name, value in sizes.items() if value is not None]
        if self.order == "none" and given:
            raise ValueError(f"order none assembles nothing: leave out {', '.join(given)}")
        if self.model_fields_set == {"label_map"}:
            return self
        if self.name is None:
            raise ValueError("name missing")
        if self.order != "none" and len(given) < len(sizes):
            missing = ", ".join(name for name in sizes if name not in given)
            raise ValueError(f"{missing} missing; order: none opens tiles one by one")
        return self

    @property
    def grid(self) -> TileGrid | None:
        """The tiling; None with order none, and where none is given."""
        if self.order == "none" or self.height is None:
            return None
        sizes = (self.height or 0, self.width or 0, self.tile_px or 0, self.step_px or 0)  # all are given, see above
        return TileGrid(*sizes, self.order)


def recognize(path: Path) -> bool:
    """Return True for a folder with tiles of at least one modality in a sub-folder."""
    return path.is_dir() and any(_numbered(path, name) for name in MODALITIES)


def images(path: Path) -> City:
    """Open the images of a split. Problems are listed in ``problems``; the city may then have no scene."""
    tile_files = {name: files for name in MODALITIES if (files := _numbered(path, name))}
    problems = [
        f"{path / archive.name} is not unpacked; unzip it there"
        for archive in sorted(path.glob("*.zip"))
        if archive.stem in MODALITIES and archive.stem not in tile_files
    ]
    name, notes = path.resolve().name, []
    scenes: tuple[Scene, ...] = ()
    try:
        stated = _stated(path)
        if stated is not None and stated.order == "none":
            return _independent(path, stated.name or name, tile_files, problems)
        candidates, published, name = _tilings(path, tile_files)
        if published:
            notes.append(f"{name}, the {published.split} city of {published.dataset}")
        problems += _missing(path, tile_files, candidates[0].count)
        if not problems:
            scene, more = _scene(path, name, tile_files, candidates, published)
            scenes, notes = (scene,), [*notes, *more]
    except C2SegError as error:
        problems.append(str(error))
    return City(name, c2seg13(), scenes, tuple(problems), tuple(notes))


def labels(path: Path, city: City, label_map: str | None) -> tuple[Label, ...] | None:
    """Open the labels of the split; None if there are none. Raises DataError if tiles are missing."""
    files = _numbered(path, "label")
    if not files:
        return None
    stated = _stated(path)
    name = label_map or (stated.label_map if stated else "challenge")
    tiles = city.scenes[0].tiles
    if tiles is None:
        return _independent_labels(path, city, files, name)
    missing = _missing(path, {"label": files}, tiles.count)
    if missing:
        raise DataError(missing[0])
    mosaic = _mosaic(files, tiles)
    if mosaic.count != 1:
        raise DataError(f"{files[0]} has {mosaic.count} bands; a label has one")
    return (Label(mosaic, GridRelation(), str(files[0].parent), label_map=name),)


def check(path: Path, city: City, codes: Collection[int] | None, progress: Progress = no_progress) -> list[str]:
    """Return the problems of single tiles and of the archive next to the folder.

    All tiles are tested for size, bands, data type and truncation. Label tiles are read whole: ``codes`` are their valid
    values (None: labels are not tested).
    """
    problems = _check_archive(path, progress)
    if not city.scenes:
        return problems
    scene = city.scenes[0]
    if scene.tiles is None:  # independent tiles were opened one by one
        return problems
    sources = [stack.source for stack in scene.modalities.values()]
    label_files = _numbered(path, "label")
    if label_files and codes is not None and not _missing(path, {"label": label_files}, scene.tiles.count):
        sources.append(_mosaic(label_files, scene.tiles))
    total = len(sources) * scene.tiles.count
    done = 0
    for source in sources:
        assert isinstance(source, TileMosaic)
        is_label = source.files[0].parent.name == "label"
        for index, file in enumerate(source.files):
            try:
                with open_raster(file) as dataset:
                    problem = _label_problem(dataset.read(1), file, codes or ()) if is_label else None
                    problem = problem or tile_problem(source, dataset, file) or _cut_off(dataset, file)
                if problem:
                    problems.append(problem)
            except C2SegError as error:
                problems.append(str(error))
            except OSError as error:
                problems.append(f"cannot read {file}: truncated or damaged ({one_line(error)})")
            done += 1
            if index % 64 == 0 or done == total:
                progress(done, total, file.parent.name)
    return problems


@dataclass(frozen=True)
class OneTile(RasterFile):
    """A tile that is opened for every reading: thousands of them must not stay open."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (OneTile, (self.path, self.bands, self.subdataset, self.declared_nodata))

    def read(self, window: Window) -> np.ndarray:
        """Return [C, H, W] of a window inside the tile. Raises DataError if it cannot be decoded."""
        try:
            return super().read(window)
        finally:
            self.close()


def _independent(path: Path, name: str, tile_files: Mapping[str, Mapping[int, Path]], problems: list[str]) -> City:
    """Open every tile as a scene of its own, named by its number. Raises DataError if a modality lacks a tile."""
    numbers = sorted(set().union(*tile_files.values()))
    for modality, files in tile_files.items():
        if gaps := [number for number in numbers if number not in files]:
            raise DataError(f"{path / modality}: tiles {number_ranges(gaps[:200])} are missing, which others have")
    scenes = tuple(
        _independent_scene(str(number), {key: files[number] for key, files in tile_files.items()}) for number in numbers
    )
    note = (
        f"{len(scenes)} tiles opened one by one (order: none): no map of the city, no context across their edges, and tiles "
        "that overlap count more than once and leak between validation folds"
    )
    return City(name, c2seg13(), scenes, tuple(problems), (note,))


def _independent_scene(name: str, files: Mapping[str, Path]) -> Scene:
    rasters = {key: OneTile(file) for key, file in files.items()}
    sizes = {(raster.height, raster.width) for raster in rasters.values()}
    if len(sizes) > 1:
        raise DataError(f"tile {name} has different sizes: {', '.join(str(file) for file in files.values())}")
    height, width = sizes.pop()
    modalities = {
        key: Modality(
            raster,
            GridRelation(),
            str(raster.path),
            key,
            tuple(Band(role=role) for role in band_roles(key, raster.count, None)),
            nodata_all_bands=0,
        )
        for key, raster in rasters.items()
    }
    return Scene(name, Grid(height, width, Affine(GRID_M, 0, 0, 0, -GRID_M, 0)), modalities)


def _independent_labels(path: Path, city: City, files: Mapping[int, Path], label_map: str) -> tuple[Label, ...]:
    if gaps := [int(scene.name) for scene in city.scenes if int(scene.name) not in files]:
        raise DataError(f"{path / 'label'}: the labels of tiles {number_ranges(gaps[:200])} are missing")
    labels = []
    for scene in city.scenes:
        raster = OneTile(files[int(scene.name)])
        if (raster.count, raster.height, raster.width) != (1, scene.grid.height, scene.grid.width):
            raise DataError(
                f"{raster.path} is no label of its tile: {raster.count} bands, {raster.height} x {raster.width}"
            )
        labels.append(Label(raster, GridRelation(), str(raster.path), label_map=label_map))
    return tuple(labels)


def _numbered(path: Path, name: str) -> dict[int, Path]:
    """Return the tiles of a modality by number, from ``name/`` or ``name/name/``."""
    for folder in (path / name, path / name / name):
        if folder.is_dir():
            files = {}
            for file in folder.iterdir():
                match = re.fullmatch(r"(\d+)\.tiff?", file.name, re.IGNORECASE)
                if match:
                    files[int(match[1])] = file
            if files:
                return dict(sorted(files.items()))
    return {}


def _stated(path: Path) -> TilesFile | None:
    file = path / "tiles.yaml"
    if not file.is_file():
        return None
    try:
        content = read_yaml(file, DataError)
        return TilesFile.model_validate(with_present_keys(content, {"numbering": "label_map"}, str(file)))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(f"{file}: {key}: {first['msg']} (keys: {', '.join(TilesFile.model_fields)})") from error


def _tilings(
    path: Path, tile_files: Mapping[str, Mapping[int, Path]]
) -> tuple[tuple[TileGrid, ...], PublishedCity | None, str]:
    """Return the possible tilings, the published city (None: not published), and the city's name."""
    stated = _stated(path)
    if stated and (tiles := stated.grid):
        name = stated.name or path.resolve().name
        city = CITIES.get(name)
        known = city if city and tiles in city.tile_grids() else None
        return (tiles,), known, name
    with open_raster(next(iter(next(iter(tile_files.values())).values()))) as dataset:
        size = dataset.height
    count = 1 + max(max(files) for files in tile_files.values())
    named = re.search(r"c2seg.?(ab|bw)", path.resolve().parent.name, re.IGNORECASE)
    city = city_of_tiles(count, size)
    if city is None and named:
        split = path.resolve().name.lower()
        dataset_name = f"C2Seg-{named[1].upper()}"
        city = next((c for c in CITIES.values() if (c.dataset, c.split) == (dataset_name, split)), None)
        city = city if city and DATASETS[city.dataset].tile_px == size else None
    if city is None:
        published = ", ".join(f"{c.name} {(t := c.tile_grids()[0]).count} of {t.tile_px}" for c in CITIES.values())
        raise DataError(
            f"{path}: {count} tiles of {size} px match no published city ({published}); describe the tiling in "
            f"tiles.yaml (keys {', '.join(TilesFile.model_fields)})"
        )
    return city.tile_grids(), city, city.name


def _missing(path: Path, tile_files: Mapping[str, Mapping[int, Path]], count: int) -> list[str]:
    problems = []
    for name, files in tile_files.items():
        gaps = [n for n in range(count) if n not in files]
        extra = [n for n in files if n >= count]
        folder = next(iter(files.values())).parent
        if gaps:
            problems.append(f"{folder}: {len(gaps)} of {count} {name} tiles are missing: {number_ranges(gaps[:200])}")
        if extra:
            problems.append(
                f"{folder}: tiles {number_ranges(extra[:200])} exceed the {count} tiles of the city; remove them"
            )
    return problems


def _mosaic(files: Mapping[int, Path], tiles: TileGrid) -> TileMosaic:
    first = files[0]
    with open_raster(first) as dataset:
        mosaic = TileMosaic(
            tuple(files[n] for n in range(tiles.count)),
            tiles,
            dataset.count,
            np.result_type(*dataset.dtypes),
            dataset.nodata,
        )
        problem = tile_problem(mosaic, dataset, first)
    if problem:
        raise DataError(problem)
    return mosaic


def _scene(
    path: Path,
    name: str,
    tile_files: Mapping[str, Mapping[int, Path]],
    candidates: tuple[TileGrid, ...],
    published: PublishedCity | None,
) -> tuple[Scene, list[str]]:
    mosaics = {key: _mosaic(files, candidates[0]) for key, files in tile_files.items()}
    leanest = min(mosaics.values(), key=lambda mosaic: mosaic.count * mosaic.dtype.itemsize)
    evidence = find_order(partial(TileMosaic.read_tile, leanest), candidates, str(path))
    tiles = evidence.tiles
    grid, note = _grid(leanest, tiles)
    modalities = {}
    for key, files in tile_files.items():
        source = _mosaic(files, tiles)
        bands = tuple(Band(role=role) for role in band_roles(key, source.count, published))
        if published:
            expected = DATASETS[published.dataset].bands()[key]
            if source.count != expected:
                raise DataError(
                    f"{files[0]} has {source.count} bands; {key} of {published.dataset} has {expected}: these are "
                    "not the published tiles (of a whole-scene file with more bands, the first ones are used)"
                )
        modalities[key] = Modality(source, GridRelation(), str(files[0].parent), key, bands, nodata_all_bands=0)
    return Scene(name, grid, modalities, tiles=tiles), [evidence.text, note]


def _grid(mosaic: TileMosaic, tiles: TileGrid) -> tuple[Grid, str]:
    """Return the city's grid from the tiles' georeference if it matches the tiling, else 10 m without CRS."""
    plain = Grid(tiles.height, tiles.width, Affine(GRID_M, 0, 0, 0, -GRID_M, 0))
    places = list(tiles.windows())
    stated = []
    for index in (0, len(places) // 2, len(places) - 1):
        with open_raster(mosaic.files[index]) as dataset:
            stated.append((index, dataset.transform, dataset.crs))
    if any(crs is None for _, _, crs in stated):
        return plain, "tiles without georeference: a grid of 10 m without CRS"
    grid = Grid(tiles.height, tiles.width, stated[0][1], stated[0][2].to_wkt())
    fits = all(
        crs == stated[0][2]
        and transform.almost_equals(grid.crop(places[index]).transform, 1e-3 * grid.resolution_xy[0])
        for index, transform, crs in stated
    )
    if not fits:
        return plain, "the tiles' georeference contradicts their positions and is not used: a grid of 10 m without CRS"
    return grid, "the georeference of the tiles matches their positions"


def _label_problem(values: np.ndarray, file: Path, codes: Collection[int]) -> str | None:
    broken = values != np.round(values)
    if broken.any():
        return f"{file}: {int(broken.sum())} labels are not integers, such as {values[broken][0]}"
    unknown = sorted(set(np.unique(values).astype(int).tolist()) - set(codes))
    if unknown:
        return f"{file}: label values {unknown[:8]} are not in the label mapping; give another one (`label_map`)"
    return None


def _cut_off(dataset: Any, file: Path) -> str | None:
    """Return a problem if a block of the first or last band lies beyond the end of the file."""
    size = file.stat().st_size
    for band in {1, dataset.count}:
        rows, cols = dataset.block_shapes[band - 1]
        for y in range(-(-dataset.height // rows)):
            for x in range(-(-dataset.width // cols)):
                offset = dataset.get_tag_item(f"BLOCK_OFFSET_{x}_{y}", "TIFF", band)
                length = dataset.get_tag_item(f"BLOCK_SIZE_{x}_{y}", "TIFF", band)
                if offset and length and int(offset) + int(length) > size:
                    return f"{file} is truncated: it has {size} bytes, and a block needs {int(offset) + int(length)}"
    return None


def _check_archive(path: Path, progress: Progress) -> list[str]:
    """Compare the MD5 of the dataset's archive with the published one, if the archive is near the folder."""
    problems = []
    for folder in path.resolve().parents[:3]:
        for name, expected in ARCHIVES.items():
            archive = folder / name
            if not archive.is_file() or Path(name).stem.lower() not in str(path.resolve()).lower():
                continue
            digest, size, done = hashlib.md5(usedforsecurity=False), archive.stat().st_size, 0
            with archive.open("rb") as stream:
                while chunk := stream.read(1 << 24):
                    digest.update(chunk)
                    done += len(chunk)
                    progress(done, size, name)
            if digest.hexdigest() != expected:
                problems.append(f"{archive}: MD5 is {digest.hexdigest()}, published {expected}; download it again")
    return problems
