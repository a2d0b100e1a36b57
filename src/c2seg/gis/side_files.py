"""The files beside a map that are made on request, within the commit that writes the map; and the folder with all of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from c2seg.artifacts import MapRecord
from c2seg.artifacts.provenance import relative_path
from c2seg.errors import InputError
from c2seg.gis.areas import areas_text
from c2seg.gis.geopackage import check_vector_packages, write_polygons
from c2seg.gis.layers import layer_asset, map_asset
from c2seg.gis.preview import write_legend_image, write_preview
from c2seg.gis.stac import Asset, ModelFacts, StacFacts, instant, stac_text
from c2seg.legend import Legend
from c2seg.outputs import Commit, Output
from c2seg.progress import Progress, no_progress
from c2seg.raster import attributes_text, level_qml_text, open_raster, qml_text
from c2seg.types import Grid

__all__ = ["FinishedMap", "SideFiles", "add_side_files"]

_STORED_TOP = 200
"""What layers store for a probability of 1."""


@dataclass(frozen=True)
class SideFiles:
    """Which files are made beside a map."""

    vector: Path | None = None
    """Polygons of the classes, a GeoPackage."""
    legend_image: Path | None = None
    areas: Path | None = None
    """Pixels and areas by class, a CSV."""
    stac: Path | None = None
    package: Path | None = None
    """A folder with copies of the map and its layers, and with all side files."""
    simplify_m: float | None = None
    """How far borders of polygons are simplified, in meters (pixels without a CRS); None: not at all."""
    title: str | None = None
    acquired: str | None = None
    """When the images were taken, ISO 8601; None: the time at which the map was made stands in its place."""
    polygons: bool = True
    """Whether the folder holds polygons."""
    model: ModelFacts | None = None

    @property
    def outputs(self) -> dict[str, Output]:
        """The files, and the folder."""
        kinds = {
            "vector": (self.vector, (".gpkg",)), "legend_image": (self.legend_image, (".png",)),
            "areas": (self.areas, (".csv",)), "stac": (self.stac, (".json",)),
        }  # fmt: skip
        files = {name: Output(path, name, endings) for name, (path, endings) in kinds.items() if path is not None}
        return files | ({"package": Output(self.package, "package", is_folder=True)} if self.package else {})

    def check(self) -> None:
        """Raise InputError or MissingExtraError for what cannot be made, before long work."""
        if self.simplify_m is not None and not self.simplify_m > 0:
            raise InputError(f"`simplify` must be above 0 meters, not {self.simplify_m:g}")
        if self.simplify_m is not None and self.vector is None and not (self.package and self.polygons):
            raise InputError("`simplify` is of polygons; ask for them with `vector` or `package`")
        if self.acquired is not None:
            instant(self.acquired)
        if self.vector is not None or (self.package is not None and self.polygons):
            check_vector_packages()


@dataclass(frozen=True)
class FinishedMap:
    """A map that is written: ``source`` can be read now, ``place`` is where it will stand; likewise ``layers`` by name."""

    source: Path
    place: Path
    grid: Grid
    legend: Legend
    pixels: Mapping[int, int]
    """By class id."""
    record: MapRecord | None = None
    layers: Mapping[str, tuple[Path, Path]] = field(default_factory=dict)
    palette: str = "default"

    @property
    def title(self) -> str:
        """What the map shows."""
        return f"Land cover of {self.record.city.name if self.record and self.record.city else self.place.stem}"

    def _free(self, layer: str, place: Path) -> str:
        """Return a layer's name in one folder with the map and the other layers, which may lie in folders of their own."""
        others = [self.place.name, *(there.name for name, (_, there) in self.layers.items() if name != layer)]
        return f"{self.place.stem}_{layer}.tif" if place.name in others else place.name

    def at(self, folder: Path) -> FinishedMap:
        """Return the map as it will stand in another folder."""
        record = self.record
        if record is not None and record.city is not None:
            there = self.place.parent / record.city.path
            city = record.city.model_copy(update={"path": relative_path(there, folder / self.place.name)})
            record = record.model_copy(update={"city": city})
        layers = {name: (source, folder / self._free(name, place)) for name, (source, place) in self.layers.items()}
        if record is not None:
            names: dict[str, str] = {
                name: layers[name][1].name for name in ("confidence", "runner_up") if name in layers
            }
            record = record.model_copy(update=names)
        return replace(self, place=folder / self.place.name, record=record, layers=layers)


def add_side_files(files: Commit, made: FinishedMap, side: SideFiles, progress: Progress = no_progress) -> None:
    """Add the side files of a map to a commit, and the folder with everything if it is asked for."""
    names = side.outputs
    if "package" in names:
        _fill(files.add(names.pop("package")), made, side, progress)
    places = {name: (files.add(output), output.path) for name, output in names.items()}
    _make(places, made, side, {}, progress)


def _fill(folder: Path, made: FinishedMap, side: SideFiles, progress: Progress) -> None:
    """Write the folder with the map, its layers and all side files."""
    assert side.package is not None
    package, stem = side.package, made.place.stem
    there = made.at(package)
    for source, place in [(there.source, there.place), *there.layers.values()]:
        shutil.copyfile(source, folder / place.name)
    texts = {
        f"{there.place.name}.aux.xml": attributes_text(
            made.legend, made.pixels, made.grid.pixel_area_m2(), made.palette
        ),
        f"{stem}.qml": qml_text(made.legend, made.palette),
        **_level_style(there.layers),
        **({f"{stem}.json": there.record.as_text()} if there.record else {}),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    endings = {
        "vector": ".polygons.gpkg", "legend_image": ".legend.png", "areas": ".areas.csv", "preview": ".preview.png",
        "stac": ".stac.json",
    }  # fmt: skip
    if not side.polygons:
        del endings["vector"]
    places = {name: (folder / f"{stem}{end}", package / f"{stem}{end}") for name, end in endings.items()}
    beside = {"style": Asset(package / f"{stem}.qml", "Style of QGIS", "application/xml", ("style",))}
    _make(places, there, side, beside, progress)


def _level_style(layers: Mapping[str, tuple[Path, Path]]) -> dict[str, str]:
    """Return name and text of the style of the confidence, where there is one; maps of 0.1.0 state no scale."""
    if "confidence" not in layers:
        return {}
    source, place = layers["confidence"]
    with open_raster(source) as dataset:
        top = 1.0 if dataset.scales[0] != 1.0 else float(_STORED_TOP)
    return {f"{place.stem}.qml": level_qml_text(top)}


def _make(
    places: Mapping[str, tuple[Path, Path]],
    made: FinishedMap,
    side: SideFiles,
    beside: Mapping[str, Asset],
    progress: Progress,
) -> None:
    """Write side files by name, each where it can be written now and where it will stand; the STAC item lists the others."""
    title, pixel_m2 = side.title or made.title, made.grid.pixel_area_m2()
    legend, palette = made.legend, made.palette

    def polygons(path: Path) -> None:
        write_polygons(path, made.source, legend, palette, simplify_m=side.simplify_m, progress=progress)

    makers: dict[str, Callable[[Path], object]] = {
        "vector": polygons,
        "legend_image": lambda path: write_legend_image(path, legend, palette),
        "areas": lambda path: path.write_text(areas_text(legend, made.pixels, pixel_m2, made.record), encoding="utf-8"),
        "preview": lambda path: write_preview(path, made.source, made.grid, legend, palette, title),
    }
    assets = {"map": map_asset(made.place, made.grid)}
    assets |= {name: layer_asset(name, place, legend) for name, (_, place) in made.layers.items()}
    for name in [name for name in makers if name in places]:
        makers[name](places[name][0])
        assets[name] = Asset(places[name][1], *_KINDS[name])
    if "stac" in places:
        now, place = places["stac"]
        now.write_text(stac_text(place, _facts(made, side), assets | dict(beside)), encoding="utf-8")


_KINDS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "vector": ("Polygons of the classes", "application/geopackage+sqlite3", ("data",)),
    "legend_image": ("Legend", "image/png", ("legend",)),
    "areas": ("Areas by class", "text/csv", ("metadata",)),
    "preview": ("Preview", "image/png", ("overview",)),
}


def _facts(made: FinishedMap, side: SideFiles) -> StacFacts:
    time = datetime.fromtimestamp(int(made.source.stat().st_mtime), UTC).isoformat()
    return StacFacts(
        made.place.stem, made.grid, made.legend, instant(side.acquired or time), made.record, side.model, made.palette
    )
