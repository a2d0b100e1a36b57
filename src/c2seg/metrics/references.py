"""The reference that maps are scored with, opened by one function: a raster, a city, or polygons.

What a city's city.yaml says of its label holds here as it does in training: the file, the label mapping, the legend.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from c2seg.data import Label, LabeledCity, add_labels, open_city
from c2seg.data.label_map import load_label_map
from c2seg.data.layouts import folder, layout_of
from c2seg.data.tiling import TileGrid
from c2seg.data.vectors import burn_labels, is_vector
from c2seg.errors import DataError, GridError, InputError, unknown_name
from c2seg.legend import LandClass, Legend, c2seg13
from c2seg.raster import ArrayRaster, RasterFile, RasterSource, open_raster
from c2seg.types import Grid, Window

__all__ = [
    "LabelRaster",
    "Reference",
    "ReferenceCode",
    "agreed_legend",
    "choose",
    "map_legend",
    "open_references",
    "same_classes",
]


@dataclass(frozen=True, slots=True)
class ReferenceCode:
    """Meaning of reference values: the legend, and the label mapping of the files (``challenge``: class ids)."""

    legend: Legend
    label_map: str = "challenge"


@dataclass(frozen=True)
class LabelRaster:
    """A label that is no raster file of its own, with the interface of one: polygons, a variable of a .mat file, tiles."""

    source: RasterSource
    path: Path
    grid: Grid
    mask: RasterSource | None = None

    @property
    def count(self) -> int:
        """Number of bands."""
        return self.source.count

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.source.height

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.source.width

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the values."""
        return self.source.dtype

    @property
    def nodata(self) -> float | None:
        """Value that marks missing data."""
        return self.source.nodata

    def read(self, window: Window) -> np.ndarray:
        """Return raw values [1, H, W] of a window inside the raster."""
        return self.source.read(window)

    def fingerprint(self) -> str:
        """Return a short digest of the values."""
        return self.source.fingerprint()

    def close(self) -> None:
        """Do nothing: a source is shared by all windows, and releases its files itself."""


@dataclass(frozen=True)
class Reference:
    """A label and the meaning of its values. ``scene`` and ``city`` are those that it belongs to, where known.

    ``path`` is the label's file, or the folder of its tiles. ``label`` and ``grid`` are given where it is no raster file.
    """

    path: Path
    code: ReferenceCode
    scene: str | None = None
    city: Path | None = None
    label_field: str | None = None
    """Of a vector file: the attribute with the label values."""
    states_legend: bool = False
    """Whether the city names its legend."""
    label: Label | None = None
    grid: Grid | None = None
    tiles: TileGrid | None = None
    """The tiles in which the city is distributed, if known."""

    def open(self, grid: Grid) -> RasterFile | LabelRaster:
        """Open the label; polygons are burned into ``grid``. Raises DataError if it has several bands."""
        if self.label is not None:
            return LabelRaster(self.label.source, self.path, self.grid or grid, self.label.mask)
        if is_vector(self.path):
            values = burn_labels(self.path, grid, self.code.legend, self.label_field)
            return LabelRaster(ArrayRaster(values), self.path, grid)
        raster = RasterFile(self.path)
        if raster.count != 1:
            raise DataError(f"{self.path} has {raster.count} bands; a map of classes has one")
        return raster


def open_references(
    path: Path, legend: Legend | None = None, label_map: str | None = None, label_field: str | None = None
) -> tuple[Reference, ...]:
    """Return the references at ``path``: one of a label raster or vector file, one for each scene of a city.

    ``legend`` must agree with the city's; None: the city's, else C2Seg's 13 classes. ``label_map`` (a name, a mapping file, or
    ``auto`` for a city) takes the place of what the city states. Raises DataError or InputError.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist; give a label raster, a city, a vector file, or a folder of tiles")
    if path.is_dir() or path.suffix.lower() == ".mat":
        return _of_city(path, legend, label_map)
    return (Reference(path, _code(legend or c2seg13(), label_map or "challenge"), label_field=label_field),)


def agreed_legend(legends: Sequence[tuple[str, Legend | None]]) -> Legend | None:
    """Return the first of several legends (with the name of what has it); None if there is none.

    Raises InputError if two have other classes: ids or names.
    """
    known = [(name, legend) for name, legend in legends if legend is not None]
    for name, legend in known[1:]:
        first, reference = known[0]
        if not same_classes(legend, reference):
            raise InputError(
                f"{name} and {first} have different legends ({_difference(legend, reference)}); a score of one by the other "
                "means nothing"
            )
    return known[0][1] if known else None


def same_classes(one: Legend, other: Legend) -> bool:
    """Return whether two legends have the same ids and names."""
    return _classes(one) == _classes(other)


def map_legend(raster: RasterFile) -> Legend | None:
    """Read class names and colors from a map's tags; C2Seg-13 where they are its names, None where it has none."""
    with open_raster(raster.path) as dataset:
        tags: dict[str, str] = dataset.tags(1)
        name = dataset.tags().get("LEGEND", "legend of the map")
        try:
            colors = dataset.colormap(1)
        except ValueError:
            colors = {}
    names = {int(key[6:]): text for key, text in tags.items() if key.startswith("CLASS_") and key[6:].isdigit()}
    names = {number: text for number, text in sorted(names.items()) if 1 <= number <= 254}
    default = c2seg13()
    if not names:
        return None
    if (tuple(names), tuple(names.values())) == (default.ids, default.names):
        return default
    classes = (
        LandClass(number, text, "#{:02X}{:02X}{:02X}".format(*colors.get(number, (128, 128, 128))[:3]))
        for number, text in names.items()
    )
    return Legend(name, tuple(classes))


def _of_city(path: Path, legend: Legend | None, label_map: str | None) -> tuple[Reference, ...]:
    bare = path / "label.tif"
    layout = folder if path.is_dir() and bare.is_file() else layout_of(path)
    if layout is not folder:
        return _of_other_layout(path, legend, label_map)
    files = folder.label_files(path)
    if not files:
        raise DataError(f"{path} has no labels (label.tif, or `label:` in city.yaml); give the label file")
    stated = folder.legend_of(path)
    legend = agreed_legend([("the legend given", legend), (str(path), stated)]) or c2seg13()
    if "auto" in {label_map, *(file.label_map for file in files.values())}:
        return _detected(path, legend, label_map, files)
    scenes: list[str | None] = list(files) if len(files) > 1 else [None]
    return tuple(
        Reference(
            file.file,
            _code(legend, label_map or file.label_map),
            scene,
            path.resolve(),
            file.field,
            states_legend=stated is not None,
        )
        for scene, file in zip(scenes, files.values(), strict=True)
    )


def _detected(
    path: Path, legend: Legend, label_map: str | None, files: dict[str, folder.LabelFile]
) -> tuple[Reference, ...]:
    """Return the references of a city whose label mapping its images tell."""
    city = add_labels(path, replace(open_city(path), legend=legend), label_map)
    assert city is not None
    return tuple(
        Reference(files[scene].file, ReferenceCode(city.images.legend, label.label_map), name, path.resolve())
        for scene, name, label in _scenes(city)
    )


def _scenes(city: LabeledCity) -> list[tuple[str, str | None, Label]]:
    """Return the scenes' names, the names to tell scenes apart (None: there is one), and the labels."""
    names = [scene.name for scene in city.images.scenes]
    apart: list[str | None] = list(names) if len(names) > 1 else [None]
    return list(zip(names, apart, city.labels, strict=True))


def _of_other_layout(path: Path, legend: Legend | None, label_map: str | None) -> tuple[Reference, ...]:
    """Return the references of a city in another layout: tiles, a .mat file, a plug-in's."""
    images = open_city(path)
    agreed_legend([("the legend given", legend), (str(path), images.legend)])
    city = add_labels(path, images, label_map)
    if city is None:
        raise DataError(f"{path} has no labels; give the label file")
    references = []
    for (_, name, label), scene in zip(_scenes(city), city.images.scenes, strict=True):
        code = ReferenceCode(city.images.legend, label.label_map)
        plain = isinstance(label.source, RasterFile)
        references.append(
            Reference(
                label.source.path if isinstance(label.source, RasterFile) else Path(label.origin or path),
                code,
                name,
                path.resolve(),
                states_legend=True,
                label=None if plain else label,
                grid=None if plain else scene.grid,
                tiles=scene.tiles,
            )
        )
    return tuple(references)


def _code(legend: Legend, label_map: str) -> ReferenceCode:
    """Return how values are read by a named label mapping or by a mapping file."""
    if label_map.endswith((".yaml", ".yml")):
        file = Path(label_map)
        codes = load_label_map(file, legend)
        return ReferenceCode(replace(legend, label_maps={**legend.label_maps, file.stem: codes}), file.stem)
    if label_map == "auto":
        raise InputError("the label mapping auto needs a city with images; name that of a label raster")
    if label_map not in (valid := ["challenge", *legend.label_maps]):
        raise InputError(unknown_name("label mapping", label_map, valid))
    return ReferenceCode(legend, label_map)


def _classes(legend: Legend) -> dict[int, str]:
    return {item.id: item.name.strip().casefold() for item in legend.classes}


def _difference(one: Legend, other: Legend) -> str:
    """Return the first class that differs."""
    here, there = ({item.id: item.name for item in legend.classes} for legend in (one, other))
    number = next(n for n in sorted({*here, *there}) if _classes(one).get(n) != _classes(other).get(n))
    return f"{number} is {here.get(number, 'no class')!r} and {there.get(number, 'no class')!r}"


def choose(references: Sequence[Reference], scene: str | None, path: Path) -> Reference:
    """Return the reference of a scene. Raises GridError if there are several and none is of it."""
    if len(references) == 1:
        return references[0]
    fitting = [reference for reference in references if reference.scene == scene]
    if not fitting:
        names = ", ".join(str(reference.scene) for reference in references)
        raise GridError(
            f"{path} has the scenes {names}, and the map is of {scene or 'an unknown scene'}; give a map of each"
        )
    return fitting[0]
