"""Single-band files as STAC catalogs and open-data buckets give them: a folder of B02.jp2, red.tif, ..., or a list of files.

A list is a text file (``.txt`` or ``.lst``) with a file name a line, relative to its folder. All files are one product.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from c2seg.documents import read_text
from c2seg.errors import DataError, InputError
from c2seg.products.bandfiles_names import SensorKind, band_of_sensor, named_band, sensor_of
from c2seg.products.bandfiles_scaling import BandFile, decide
from c2seg.products.bandfiles_stac import StacItem, read_item
from c2seg.products.base import ProductBand, ProductFacts, ProductOptions
from c2seg.products.hyper import CubeProduct, grid_of, moment
from c2seg.products.landsat_bands import CLOUD_BITS, oli_number, saturation_bits
from c2seg.products.native import GdalFile, NativeBand, NativeMask
from c2seg.products.sentinel2 import SCL_CLOUDS, SCL_DEFECTIVE
from c2seg.products.sentinel2_bands import BANDS, msi_name
from c2seg.raster import bands_of, data_files
from c2seg.types import Grid

__all__ = ["LOOKS_FOR", "open", "open_files", "recognize"]

LOOKS_FOR = "single-band files (a folder, or a .txt list, of B02.jp2, B8A.tif, red.tif, ..._B04_10m.jp2, SR_B4.TIF)"

_IMAGES = {".jp2", ".tif", ".tiff"}
_LISTS = {".txt", ".lst"}
_MOST_FILES = 2000
_FMASK_CLOUDS = 0b1011
"""Of HLS Fmask: cirrus, cloud, cloud shadow."""
_COARSE = {"sentinel2": ("B01", "B09", "B10"), "landsat": ("B9",)}
"""Bands for atmospheric correction, read when they are named."""


def recognize(path: Path) -> bool:
    """Return True for a folder with at least two files named by bands, or a list of such files."""
    if path.is_dir():
        return len([file for file in _in_folder(path) if _band(file)]) >= 2
    return path.suffix.lower() in _LISTS and path.is_file() and bool(_listed(path, check=False))


def open(path: Path, options: ProductOptions) -> CubeProduct:
    """Open a folder or list of files; see ``open_files``."""
    files = _in_folder(path) if path.is_dir() else _listed(path, check=True)
    return open_files(files, options, path.resolve().name, () if path.is_dir() else (path,))


def open_files(
    paths: Sequence[Path], options: ProductOptions, product: str, more: tuple[Path, ...] = ()
) -> CubeProduct:
    """Open single-band files as one product. ``more`` are further files that were read.

    Raises DataError if none holds a band, two hold the same one at the same resolution, or a file is damaged; InputError for
    unknown bands.
    """
    named = [(path, band) for path in paths if (band := named_band(path.stem))]
    images = [_band_file(path, band.word) for path, band in named if band.mask is None]
    if not images:
        raise DataError(f"{product} holds no file named by a band, such as B02.jp2 or red.tif")
    item = read_item(images[0].file.path.parent, [image.name for image in images])
    grids = {image.file.path: grid_of(image.file, 1, "a file of one band") for image in images}
    finest = min(grids.values(), key=lambda grid: grid.pixel_side_m() or 1.0)
    stems = [path.stem for path, _ in named]
    sensor = _stac_sensor(item) or sensor_of(stems, finest.pixel_side_m() or 0.0)
    chosen = _chosen(images, grids, sensor, item, options, product)
    scaling = decide([image for image, _ in chosen], sensor, item)
    native = tuple(
        _native(image, grids[image.file.path], pair, sensor)
        for (image, _), pair in zip(chosen, scaling.scales, strict=True)
    )
    masks, read, notes = _masks(
        [(path, band.mask) for path, band in named if band.mask], [b for _, b in chosen], options
    )
    facts = ProductFacts(
        kind="msi", sensor=_sensor_name(sensor, item), product=item.item_id if item and item.item_id else product,
        unit="reflectance" if scaling.is_reflectance else "raw",
        acquired=moment(str(item.properties.get("datetime") or item.properties.get("start_datetime"))) if item else None,
        files=_files([*(image.file.path for image, _ in chosen), *read, *more, *((item.path,) if item else ())]),
        notes=(*notes, *((scaling.note,) if scaling.note else ())),
        processing={
            "scales": [scale for scale, _ in scaling.scales], "offsets": [offset for _, offset in scaling.scales],
            "scaling_from": scaling.source, "cloud_percent": item.cloud_percent if item else None,
            "images": [image.name for image, _ in chosen], "masks": [p.name for p in read],
            "cloud_margin_m": options.cloud_margin_m if options.mask_clouds else None,
        },
    )  # fmt: skip
    place = min(
        (band.place for band in native if isinstance(band.place, Grid)), key=lambda grid: grid.pixel_side_m() or 1.0
    )
    return CubeProduct(facts, tuple(band for _, band in chosen), native, tuple(masks), place, options.kernel)


def _in_folder(path: Path) -> list[Path]:
    """Return the images of a folder, and of its folders of one resolution (R10m, ...)."""
    try:
        children = sorted(path.iterdir())[:_MOST_FILES]
        inner = [file for child in children if child.is_dir() and child.name.upper() in ("R10M", "R20M", "R60M")
                 for file in sorted(child.iterdir())[:_MOST_FILES]]  # fmt: skip
    except OSError:
        return []
    return [file for file in (*children, *inner) if file.suffix.lower() in _IMAGES and file.is_file()]


def _listed(path: Path, *, check: bool) -> list[Path]:
    """Return the files that a list names; without ``check`` none for a text that is no list."""
    try:
        lines = [line.strip() for line in read_text(path).splitlines()]
    except DataError:
        if check:
            raise
        return []
    files = [path.parent / line for line in lines if line and not line.startswith("#")][:_MOST_FILES]
    if check and (missing := [file for file in files if not file.is_file()]):
        raise DataError(f"{path} names {missing[0]}, which does not exist")
    good = [file for file in files if file.suffix.lower() in _IMAGES and _band(file)]
    return good if check or len(good) == len(files) else []


def _band(file: Path) -> bool:
    named = named_band(file.stem)
    return named is not None and named.mask is None


def _band_file(path: Path, word: str) -> BandFile:
    file = GdalFile(path)
    with file.open() as dataset:
        if dataset.count != 1:
            raise DataError(f"{path} is named as a band and has {dataset.count} bands; give it alone, or remove it")
        return BandFile(file, word, bands_of(dataset)[0], "int" in dataset.dtypes[0], dataset.nodata)


def _stac_sensor(item: StacItem | None) -> SensorKind | None:
    platform = item.platform.lower() if item else ""
    if platform.startswith(("sentinel-2", "sentinel2", "s2")):
        return "sentinel2"
    return "landsat" if platform in ("landsat-8", "landsat-9") else None


def _sensor_name(sensor: SensorKind | None, item: StacItem | None) -> str:
    if item and item.platform:
        craft = item.platform.lower()
        return (
            f"Sentinel-2{craft[10:].upper()}"
            if craft.startswith("sentinel-2")
            else craft.replace("landsat-", "Landsat ")
        )
    return {"sentinel2": "Sentinel-2", "landsat": "Landsat"}.get(sensor or "", "unknown")


def _chosen(
    images: list[BandFile], grids: dict[Path, Grid], sensor: SensorKind | None, item: StacItem | None,
    options: ProductOptions, product: str,
) -> list[tuple[BandFile, ProductBand]]:  # fmt: skip
    """Return files with their bands, each band once: at its native resolution, else the finest; in the sensor's order."""
    by_name: dict[str, tuple[BandFile, ProductBand]] = {}
    for image in sorted(images, key=lambda image: grids[image.file.path].pixel_side_m() or 1.0):
        band = _described(image, sensor, item)
        if band is None:
            continue
        if band.name in by_name:
            before = by_name[band.name][0]
            if grids[before.file.path].resolution_xy == grids[image.file.path].resolution_xy:
                raise DataError(
                    f"{product} holds band {band.name} twice ({before.name}, {image.name}); give one scene a folder"
                )
            if not _is_native(band.name, grids[image.file.path]):
                continue
        by_name[band.name] = (image, band)
    every = sorted(by_name.values(), key=lambda pair: (pair[1].wavelength_nm or 0.0, pair[1].name))
    if options.bands is None:
        extra = _COARSE.get(sensor or "", ())
        usual = [pair for pair in every if pair[1].name.removeprefix("SR_") not in extra]
        return usual or every
    known = {_key(pair[1].name): pair for pair in every} | {pair[0].word: pair for pair in every}
    if unknown := [name for name in options.bands if _key(name) not in known]:
        raise InputError(f"`bands`: {product} has no band {unknown[0]!r}; it has {', '.join(b.name for _, b in every)}")
    return [known[_key(name)] for name in options.bands]


def _described(image: BandFile, sensor: SensorKind | None, item: StacItem | None) -> ProductBand | None:
    if sensor is not None:
        return band_of_sensor(image.word, sensor, item.platform if item else "")
    role = image.word if image.word in ("blue", "green", "red", "nir") else None
    return ProductBand(image.word, role, image.stored.wavelength_nm, image.stored.fwhm_nm)


def _is_native(name: str, grid: Grid) -> bool:
    return any(band.name == name and round(grid.resolution_xy[0]) == band.resolution_m for band in BANDS)


def _key(name: str) -> str:
    return (msi_name(name.lower().removeprefix("sr_")) or name).lower()


def _native(image: BandFile, grid: Grid, pair: tuple[float, float], sensor: SensorKind | None) -> NativeBand:
    nodata = {image.nodata} if image.nodata is not None else set()
    if image.is_integer and sensor is not None:
        nodata |= {0.0} | ({65535.0} if sensor == "sentinel2" else set())
    return NativeBand(image.file, grid, 1, *pair, tuple(sorted(nodata)))


def _masks(
    layers: list[tuple[Path, str | None]], bands: list[ProductBand], options: ProductOptions
) -> tuple[list[NativeMask], list[Path], list[str]]:
    masks, read = [], []
    margin = options.cloud_margin_m
    for path, kind in layers:
        file = GdalFile(path)
        place = grid_of(file, 1, "a mask")
        if kind == "valid":
            masks.append(NativeMask(file, place, exclude=(0,)))
        elif kind == "qa_radsat":
            numbers = [number for band in bands if (number := oli_number(band.name))]
            masks.append(NativeMask(file, place, bits=saturation_bits(numbers)))
        elif not options.mask_clouds:
            continue
        elif kind == "scl":
            if any(other == "scl" and _finer(GdalFile(p), place) for p, other in layers if p != path):
                continue
            masks.append(
                NativeMask(file, place, exclude=(*SCL_DEFECTIVE, *SCL_CLOUDS), dilate=SCL_CLOUDS, margin_m=margin)
            )
        else:
            masks.append(
                NativeMask(file, place, bits=CLOUD_BITS if kind == "qa_pixel" else _FMASK_CLOUDS, margin_m=margin)
            )
        read.append(path)
    clouds = any(kind != "qa_radsat" for _, kind in layers) and options.mask_clouds
    return masks, read, [] if clouds else ["no cloud mask among the files is used: clouds are not masked"]


def _finer(file: GdalFile, place: Grid) -> bool:
    return grid_of(file).resolution_xy < place.resolution_xy


def _files(paths: list[Path]) -> tuple[Path, ...]:
    return tuple(
        dict.fromkeys(
            file for path in paths for file in (data_files(path) if path.suffix.lower() in _IMAGES else (path,))
        )
    )
