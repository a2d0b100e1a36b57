"""A city as a folder of rasters: ``msi.tif``, ``hsi.tif``, ``sar.tif``, ``label.tif``, ``valid.tif``, any subset.

A ``city.yaml`` may name other files and other modalities, and describe them::

    name: Potsdam
    legend: c2seg13              # or a legend file
    modalities:
      msi: {file: s2.tif, bands: [{name: B2, role: blue, wavelength_nm: 492}, ...], scale: 0.0001}
      hsi: {file: enmap.tif, wavelengths_nm: [418.2, 424.0, ...], keep: "1-130, 137-224"}
      sar: {file: s1.nc, subdataset: sigma0, nodata: 0}
      swir: {files: [B8A.jp2, B11.jp2, B12.jp2]}   # bands of several files, on the grid of the finest
    label: {file: label.tif, label_map: challenge}   # or the file name alone; label_map may be a mapping file, or auto
    valid: valid.tif
    scenes: [north, south]       # instead of modalities: sub-folders, each a scene

``keep`` selects bands by 1-based ranges. ``bands`` and ``wavelengths_nm`` describe the selected bands only. What is not given
is taken from the file: names, wavelengths, bad bands, colors, scale and offset, nodata, masks and alpha.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath

from c2seg.data.city import City, Label, Layer, Scene
from c2seg.data.layouts.cityfile import CityFile, ModalityEntry, read_city_file
from c2seg.data.layouts.imagery import modality_of, open_modality
from c2seg.data.vectors import burn_labels, is_vector
from c2seg.errors import C2SegError, DataError
from c2seg.legend import Legend, c2seg13, load_legend
from c2seg.raster import ArrayRaster, RasterFile, StackedFiles, is_object, object_names, relate_grids
from c2seg.types import Grid

__all__ = ["LOOKS_FOR", "NAME", "LabelFile", "images", "label_files", "labels", "legend_of", "recognize"]

NAME = "folder of rasters"
LOOKS_FOR = "a folder with msi.tif, hsi.tif or sar.tif, or a city.yaml"
MODALITIES = ("msi", "sar", "hsi")


def recognize(path: Path) -> bool:
    """Return True for a folder with a city.yaml or one of the standard rasters, also in object storage."""
    if is_object(path):
        return "city.yaml" in object_names(path) or any(_named(path, name) for name in MODALITIES)
    return path.is_dir() and ((path / "city.yaml").is_file() or any(_named(path, name) for name in MODALITIES))


def images(path: Path) -> City:
    """Open the images of a city folder. Problems are listed in ``problems`` by file."""
    settings = read_city_file(path)
    report = _Report()
    scenes = []
    for name, folder in _folders(path, settings).items():
        scene = _scene(folder, name, settings if folder == path else read_city_file(folder), report)
        if scene is not None:
            scenes.append(scene)
    if not scenes and not report.problems:
        report.problems.append(f"{path}: city.yaml names no modality, and there is no msi.tif, hsi.tif or sar.tif")
    name = settings.name or path.resolve().name
    return City(name, _legend(path, settings), tuple(scenes), tuple(report.problems), tuple(report.notes))


def labels(path: Path, city: City, label_map: str | None) -> tuple[Label, ...] | None:
    """Open the labels of the city's scenes; None if a scene has none."""
    files = label_files(path)
    if any(scene.name not in files for scene in city.scenes):
        return None
    return tuple(_label(scene, files[scene.name], city.legend, label_map) for scene in city.scenes)


@dataclass(frozen=True)
class LabelFile:
    """The label of a scene: its file, the label mapping that city.yaml states, the field of a vector file."""

    file: Path
    label_map: str = "challenge"
    field: str | None = None


def label_files(path: Path) -> dict[str, LabelFile]:
    """Return the labels of a city folder by scene, without opening them; scenes without one are left out."""
    settings = read_city_file(path)
    labels = {}
    for name, folder in _folders(path, settings).items():
        entry = (read_city_file(folder) if settings.scenes else settings).label
        if entry:
            mapping = entry.label_map
            mapping = str(folder / mapping) if mapping.endswith((".yaml", ".yml")) else mapping
            labels[name] = LabelFile(folder / entry.file, mapping, entry.field)
        elif file := _standard(folder, "label"):
            labels[name] = LabelFile(file)
    return labels


def legend_of(path: Path) -> Legend | None:
    """Return the legend that a city folder states; None if it states none."""
    settings = read_city_file(path)
    return _legend(path, settings) if "legend" in settings.model_fields_set else None


def _label(scene: Scene, label: LabelFile, legend: Legend, label_map: str | None) -> Label:
    """Open a label on its scene's grid."""
    file = label.file
    if is_vector(file):
        burned = ArrayRaster(burn_labels(file, scene.grid, legend, label.field))
        return Label(burned, origin=str(file), label_map=label_map or label.label_map)
    source = RasterFile(file)
    if source.count != 1:
        raise DataError(f"{file} has {source.count} bands; a label has one")
    relation = relate_grids(scene.grid, source.grid, f"the images of {scene.name}", file.name)
    if relation.ratio != 1:
        raise DataError(f"{file} is {relation.ratio} times coarser than the images; resample it to their grid")
    return Label(source, relation, str(file), label_map=label_map or label.label_map, mask=source.mask)


def _legend(path: Path, settings: CityFile) -> Legend:
    return c2seg13() if settings.legend == "c2seg13" else load_legend(path / settings.legend)


def _standard(path: Path, name: str) -> Path | None:
    """Return ``name.tif`` or ``name.tiff`` of a folder, in any case. Raises DataError if there are several."""
    files = _named(path, name)
    if len(files) > 1:
        raise DataError(f"{path} has {' and '.join(file.name for file in files)}; keep one, or name it in city.yaml")
    return files[0] if files else None


def _named(path: Path, name: str) -> list[Path]:
    names = {f"{name}.tif", f"{name}.tiff"}
    if is_object(path):
        return [path / file for file in object_names(path) if file.lower() in names]
    if not path.is_dir():
        raise DataError(f"{path} does not exist or is not a folder")
    return sorted(file for file in path.iterdir() if file.name.lower() in names and file.is_file())


def _scene(path: Path, name: str, settings: CityFile, report: _Report) -> Scene | None:
    entries = dict(settings.modalities)
    if not entries:
        entries = {name: ModalityEntry(file=file.name) for name in MODALITIES if (file := _standard(path, name))}
    opened: dict[str, RasterFile | StackedFiles] = {}
    for key, entry in entries.items():
        with report.problems_of(""):
            opened[key], notes = open_modality(path, entry)
            report.notes += notes
    if not opened:
        return None
    finest = min(opened, key=lambda key: opened[key].grid.resolution_xy[0])
    grid = opened[finest].grid
    modalities = {}
    for key, source in opened.items():
        with report.problems_of(f"{path}: "):
            relation = relate_grids(grid, source.grid, opened[finest].path.name, source.path.name)
            modalities[key], notes = modality_of(key, source, relation, entries[key])
            report.notes += notes
    valid = None
    with report.problems_of(f"{path}: "):
        valid = _valid(path, settings, grid)
    return Scene(name, grid, modalities, valid)


class _Report:
    """Problems and notes found so far."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.notes: list[str] = []

    @contextmanager
    def problems_of(self, where: str) -> Iterator[None]:
        """Note an error of the block as a problem."""
        try:
            yield
        except C2SegError as error:
            self.problems.append(f"{where}{error}")


def _valid(path: Path, settings: CityFile, grid: Grid) -> Layer | None:
    file = path / settings.valid if settings.valid else _standard(path, "valid")
    if file is None:
        return None
    source = RasterFile(file)
    relation = relate_grids(grid, source.grid, "the images", file.name)
    return Layer(source, relation, str(file), mask=source.mask)


def _folders(path: Path, settings: CityFile) -> dict[str, Path]:
    """Return the folders of the scenes by the scenes' names: the last part of the entry, or all of it if that is not unique."""
    if not settings.scenes:
        return {path.resolve().name: path}
    last = [PurePath(entry).name for entry in settings.scenes]
    names = [
        name if last.count(name) == 1 and name not in ("", "..") else "-".join(PurePath(entry).parts)
        for name, entry in zip(last, settings.scenes, strict=True)
    ]
    if len({name.casefold() for name in names}) < len(names):
        raise DataError(f"{path / 'city.yaml'}: two scenes have the same name ({', '.join(names)}); rename a folder")
    return {name: path / entry for name, entry in zip(names, settings.scenes, strict=True)}
