"""Opening of raster files through GDAL: which driver may read a file, and which other files it may lead to.

A file's name decides its driver, so that a "tif" cannot be a virtual raster or a network source. Sidecars that GDAL pairs
by name count (``x.tif.msk``, ``x.hdr``). What a file's content names is not followed, with one exception: the sources of
a ``.vrt``, if they are files inside its folder or inside a folder of the environment variable ``C2SEG_VRT_FOLDERS``.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from c2seg.errors import C2SegError, DataError, one_line
from c2seg.raster.downloads import download_problem
from c2seg.raster.hdf5 import check_all_stored
from c2seg.raster.objects import is_object

__all__ = ["GDAL_ERRORS", "data_files", "open_raster", "read_faults", "vrt_sources", "without_georeference"]

GDAL_ERRORS = (RasterioError, CPLE_BaseError, ValueError)
"""What rasterio raises; some of GDAL's errors pass it unchanged."""

VRT_FOLDERS = "C2SEG_VRT_FOLDERS"

_BY_SUFFIX = {
    ".tif": ("GTiff",), ".tiff": ("GTiff",), ".gtiff": ("GTiff",), ".png": ("PNG",), ".jpg": ("JPEG",), ".jpeg": ("JPEG",),
    ".jp2": ("JP2OpenJPEG",), ".j2k": ("JP2OpenJPEG",), ".vrt": ("VRT",), ".nc": ("netCDF",), ".nc4": ("netCDF",),
    ".h5": ("HDF5", "HDF5Image"), ".hdf5": ("HDF5", "HDF5Image"), ".he5": ("HDF5", "HDF5Image"), ".asc": ("AAIGrid",),
    ".bmp": ("BMP",), ".grd": ("SAGA", "GSBG", "GS7BG", "GSAG"), ".sdat": ("SAGA",),
    ".grb": ("GRIB",), ".grib": ("GRIB",), ".grb2": ("GRIB",), ".rst": ("RST",), ".hgt": ("SRTMHGT",),
}  # fmt: skip
_OTHERS = ("ENVI", "EHdr", "HFA", "GTiff")
"""Drivers of files with other suffixes (``.dat``, ``.img``, ``.bsq``, none): raw data with a header of the same name."""

_OF_OBJECTS = {".tif", ".tiff", ".gtiff"}
_VECTORS = {".geojson", ".json", ".gpkg", ".shp", ".kml", ".gml", ".fgb", ".osm", ".pbf"}
_HDF5 = {".nc", ".nc4", ".h5", ".hdf5", ".he5"}
_OF_NAME = (".aux.xml", ".msk", ".ovr", ".hdr", ".aux")
_OF_STEM = (".hdr", ".tfw", ".tifw", ".wld", ".jgw", ".pgw", ".prj", ".rpb", ".ige", ".igw", ".aux.xml", ".aux")
_MOST_VRT_BYTES = 64 * 2**20
_MOST_NESTED = 8
_SOURCE_TAGS = {"SourceFilename", "SourceDataset", "SourceFile"}


def open_raster(path: Path, subdataset: str | None = None) -> Any:
    """Open a raster for reading, without a warning if it has no georeference.

    ``subdataset`` is a variable's name (netCDF, HDF5) or a page's number from 1 (TIFF). Raises DataError if the file is
    missing, damaged, of an unknown kind, without bands, or leads to files outside its folder.
    """
    if is_object(path):
        _check_object(path)
    else:
        _check_file(path)
        _check_content(path)
    options = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"} if is_object(path) else {}  # no sidecars: digests know none
    try:
        with without_georeference(), rasterio.Env(GDAL_VRT_ENABLE_PYTHON="NO", **options):
            dataset = DatasetReader(str(path), driver=list(_drivers(path)))
            if subdataset is not None:
                dataset = _subdataset(dataset, path, subdataset)
    except (*GDAL_ERRORS, TypeError, OSError) as error:
        reason = download_problem(path) or f"cannot open {path} as a raster: {_why(path, error)}"
        raise DataError(reason) from error
    try:
        _check_opened(dataset, path, chosen=subdataset is not None)
    except DataError:
        dataset.close()
        raise
    return dataset


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise DataError(
            f"{path} does not exist" if not path.exists() else f"{path} is a folder; give a raster{_inside(path)}"
        )


def _check_object(path: Path) -> None:
    if path.suffix.lower() not in _OF_OBJECTS:
        raise DataError(f"{path}: of object storage only GeoTIFF can be read; write the image as one (gdal_translate)")


def _inside(path: Path) -> str:
    """Return, to follow "give a raster", one that lies in a folder, or in the maps of a run; empty if there is none."""
    rasters = sorted([*path.glob("*.tif"), *path.glob("maps/*.tif")])
    return f", such as {rasters[0]}" if rasters else ""


def data_files(path: Path) -> tuple[Path, ...]:
    """Return every file that reading the raster ``path`` reads: itself, its sidecars, and a VRT's sources with theirs.

    Sidecars are what GDAL pairs with a raster by name. A missing source is listed, too.
    """
    return tuple(dict.fromkeys(_files(path, 0)))


def vrt_sources(path: Path) -> tuple[Path, ...]:
    """Return the files that a VRT names, in its order. Raises DataError for one that may not be followed."""
    folder = path.resolve().parent
    sources = []
    for name, relative in _named_sources(path):
        source = Path(os.path.normpath(folder / name if relative or not os.path.isabs(name) else name))
        if ":" in name.replace(":\\", "") or name.lstrip().startswith("<") or "/vsi" in name:
            raise DataError(
                f"{path} reads {one_line(name)[:80]!r}, which is not a plain file; a VRT may name files only (copy the data "
                "next to it)"
            )
        if not _allowed(source, folder):
            raise DataError(
                f"{path} reads {name}, outside its folder; move the VRT next to its sources, or list their folder in the "
                f"environment variable {VRT_FOLDERS}"
            )
        sources.append(source)
    return tuple(sources)


def _files(path: Path, depth: int) -> Iterator[Path]:
    yield path
    yield from _sidecars(path)
    if path.suffix.lower() == ".vrt" and path.is_file() and depth < _MOST_NESTED:
        for source in vrt_sources(path):
            yield from _files(source, depth + 1)


def _sidecars(path: Path) -> list[Path]:
    """Return the other files of a raster that GDAL pairs by name, sorted: masks, metadata, headers, world files."""
    stem = path.stem.lower()
    names = []
    try:
        entries = os.listdir(path.parent or ".")
    except OSError:
        return []
    for entry in entries:
        lower = entry.lower()
        is_sidecar = lower.startswith(f"{path.name.lower()}.") and lower.endswith(_OF_NAME)
        if is_sidecar or (lower.startswith(f"{stem}.") and lower[len(stem) :] in _OF_STEM and entry != path.name):
            names.append(entry)
    return [path.parent / name for name in sorted(names)]


def _drivers(path: Path) -> tuple[str, ...]:
    return _BY_SUFFIX.get(path.suffix.lower(), _OTHERS)


def _check_content(path: Path) -> None:
    """Refuse what a file names, before GDAL opens it."""
    suffix = path.suffix.lower()
    _check_sidecars(path)
    if suffix in _VECTORS:
        raise DataError(
            f"{path} is a vector file, not a raster; burn its polygons into a raster first (gdal_rasterize)"
        )
    if suffix == ".vrt":
        _check_vrt(path, 0)
    if suffix in _HDF5:
        check_all_stored(path)


def _check_sidecars(path: Path) -> None:
    """Raise DataError for a sidecar that is no regular file: GDAL would wait at a pipe for ever.

    Names are tried one by one, since listing a folder of thousands of tiles for each of them takes long.
    """
    names = [f"{path.name}{end}" for end in _OF_NAME] + [f"{path.stem}{end}" for end in _OF_STEM]
    for name in (*names, *(name.upper() for name in names)):
        sidecar = path.parent / name
        if sidecar != path and sidecar.exists() and not sidecar.is_file():
            raise DataError(f"{sidecar} beside {path.name} is no regular file; remove it")


def _check_vrt(path: Path, depth: int) -> None:
    if depth >= _MOST_NESTED:
        raise DataError(f"{path}: VRTs are nested more than {_MOST_NESTED} deep")
    for source in vrt_sources(path):
        if source.exists() and not source.is_file():
            raise DataError(f"{path} reads {source}, which is no regular file")
        _check_sidecars(source)
        if source.suffix.lower() == ".vrt":
            _check_vrt(source, depth + 1)


def _named_sources(path: Path) -> list[tuple[str, bool]]:
    """Return the names in a VRT and whether each is relative to it."""
    try:
        if path.stat().st_size > _MOST_VRT_BYTES:
            raise DataError(f"{path} is too large for a VRT")
        root = ElementTree.fromstring(path.read_bytes())
    except (OSError, ElementTree.ParseError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is not a VRT: {one_line(error)}") from error
    if root.tag != "VRTDataset":
        raise DataError(f"{path} is not a VRT: its first element is {root.tag!r}")
    if any(element.tag == "PixelFunctionCode" for element in root.iter()):
        raise DataError(f"{path} contains a program (PixelFunctionCode), which is not run; write its result to a file")
    return [
        (element.text or "", element.get("relativeToVRT", element.get("relativetoVRT", "0")) == "1")
        for element in root.iter()
        if element.tag in _SOURCE_TAGS
    ]


def _allowed(source: Path, folder: Path) -> bool:
    """Return whether a VRT in ``folder`` may read a file. Links count by where they lead."""
    allowed = [folder, *(Path(item).resolve() for item in os.environ.get(VRT_FOLDERS, "").split(os.pathsep) if item)]
    return any(source.resolve().is_relative_to(item) for item in allowed)


def _subdataset(dataset: Any, path: Path, name: str) -> Any:
    """Open a variable or a page of an open file."""
    with dataset:
        parts = _parts(dataset)
    if name not in parts:
        raise DataError(f"{path} has no subdataset {name!r}; it has {', '.join(parts) or 'none'}")
    return DatasetReader(parts[name], driver=list(_drivers(path)))


def _parts(dataset: Any) -> Mapping[str, str]:
    """Return GDAL's names of variables or pages by what a user calls them."""
    parts = {}
    for text in dataset.subdatasets:
        kind, _, rest = text.partition(":")
        label = rest.partition(":")[0] if kind.upper() == "GTIFF_DIR" else rest.rpartition(":")[2].lstrip("/")
        parts[label] = text
    return parts


def _check_opened(dataset: Any, path: Path, *, chosen: bool) -> None:
    parts = {} if chosen else _parts(dataset)
    if len(parts) > 1 or (parts and not dataset.count):
        what = "pages" if "GTIFF_DIR" in dataset.subdatasets[0].upper() else "variables"
        raise DataError(
            f"{path} has {len(parts)} {what} ({', '.join(list(parts)[:8])}{', ...' if len(parts) > 8 else ''}); name one with "
            f"`subdataset:` in city.yaml, or write the {what} as bands of one file (gdal_translate, gdalbuildvrt -separate)"
        )
    if not dataset.count:
        raise DataError(f"{path} has no bands")
    stem = path.stem.lower()
    strangers = [file for file in dataset.files if not Path(file).name.lower().startswith(stem)]
    if strangers and dataset.driver not in ("VRT", "GTiff"):
        raise DataError(
            f"{path} leads to another file, {strangers[0]}, which is not followed; copy the data into one file"
        )


@contextmanager
def read_faults(what: str, advice: str = "") -> Iterator[None]:
    """Raise errors of GDAL inside the block as DataError: ``what``, GDAL's reason, ``advice``."""
    try:
        yield
    except C2SegError:
        raise
    except GDAL_ERRORS as error:
        raise DataError(f"{what} ({one_line(error.__cause__ or error)}){advice}") from error


@contextmanager
def without_georeference() -> Iterator[None]:
    """Let rasterio open and write files without a georeference without warnings; layouts and users know of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def _why(path: Path, error: Exception) -> str:
    """Return GDAL's reason, or what the name promises and the content is not."""
    known = _BY_SUFFIX.get(path.suffix.lower())
    reason = one_line(error.__cause__ or error)
    if "not recognized as being in a supported file format" in reason:
        return f"its content is not {' or '.join(known)}" if known else f"none of {', '.join(_OTHERS)} recognizes it"
    return reason
