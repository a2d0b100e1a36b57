"""Write a city in each layout that ``open_city`` reads: a folder of rasters, challenge tiles, a .mat file.

All writers stream except that of classic .mat files, whose format does not allow it. Tiles and .mat files cannot record
validity: pixels with 0 in all bands are nodata. A city with valid pixels of this kind is rejected. They have no place for a
legend either: labels of other classes than C2Seg's are rejected.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import yaml
from rasterio.crs import CRS

from c2seg.data.city import City, LabeledCity, Modality, Scene, blocks
from c2seg.data.inputs import city_rasters
from c2seg.data.layouts.mat import LABEL_MAP
from c2seg.data.tiling import TileGrid
from c2seg.errors import DataError, InputError, needs_extra
from c2seg.legend import c2seg13
from c2seg.outputs import Output, check_outputs, commit
from c2seg.progress import Progress, no_progress
from c2seg.raster import CheckedRaster, raster_faults
from c2seg.types import Grid, Window

__all__ = ["write_folder", "write_mat", "write_tiles"]

_KEYS = {"hsi": "HSI", "msi": "MSI", "sar": "SAR"}
_STRIP_BYTES = 64 << 20
_LARGEST_CLASSIC = 1 << 30


def write_folder(
    city: City | LabeledCity, folder: Path, *, overwrite: bool = False, progress: Progress = no_progress
) -> None:
    """Write ``msi.tif`` etc., ``valid.tif``, ``label.tif`` and ``city.yaml``: tiled GeoTIFF on the native grids.

    Raw data types and scales do not change. ``valid.tif`` is written if the city has one or uses ``nodata_all_bands``.
    """
    images, scene = _single(city)
    with _new_folder(folder, city, overwrite=overwrite) as temporary:
        entries: dict[str, Any] = {}
        jobs: list[tuple[str, int, Callable[[Window], np.ndarray], Grid, Any, float | None]] = []
        for name, stack in scene.modalities.items():
            source = stack.source
            jobs.append((name, source.count, source.read, _grid_of(scene, stack), source.dtype, source.nodata))
            entries[name] = _describe(stack, f"{name}.tif")
        if scene.valid is not None or any(stack.nodata_all_bands is not None for stack in scene.modalities.values()):
            jobs.append(("valid", 1, lambda w: _valid_band(scene, w), scene.grid, np.dtype(np.uint8), None))
        if isinstance(city, LabeledCity):
            jobs.append(("label", 1, lambda w: city.read_label(0, w)[None], scene.grid, np.dtype(np.uint8), None))
        for done, (name, count, read, grid, dtype, nodata) in enumerate(jobs):
            _write_tiff(temporary / f"{name}.tif", count, read, grid, dtype, nodata)
            progress(done + 1, len(jobs), name)
        stated: dict[str, Any] = {"name": images.name, "modalities": entries}
        if images.legend != c2seg13():
            stated["legend"] = "legend.yaml"
            (temporary / "legend.yaml").write_text(
                yaml.safe_dump(images.legend.as_dict(), sort_keys=False, allow_unicode=True), encoding="utf-8"
            )
        (temporary / "city.yaml").write_text(yaml.safe_dump(stated, sort_keys=False), encoding="utf-8")


def write_tiles(
    city: City | LabeledCity,
    folder: Path,
    tiles: TileGrid,
    *,
    nested: tuple[str, ...] = (),
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> None:
    """Write a split of the tile release: ``folder/{msi,sar,hsi,label}/N.tiff`` on the fine grid, and tiles.yaml.

    ``nested``: modalities with tiles one folder deeper (``hsi/hsi``). Raises DataError if a valid pixel is 0 in all bands.
    """
    images, scene = _single(city)
    _check_legend(city, "tiles")
    if (tiles.height, tiles.width) != (scene.grid.height, scene.grid.width):
        raise InputError(
            f"the tiling covers {tiles.height} x {tiles.width} px, the scene has {scene.grid.height} x {scene.grid.width}"
        )
    stated = {
        "name": images.name, "height": tiles.height, "width": tiles.width,
        "tile_px": tiles.tile_px, "step_px": tiles.step_px, "order": tiles.order,
    }  # fmt: skip
    with _new_folder(folder, city, overwrite=overwrite) as temporary:
        readers = {name: _zero_filled(scene, name) for name in scene.modalities}
        if isinstance(city, LabeledCity):
            readers["label"] = lambda window: city.read_label(0, window)[None]
        for name in readers:
            (temporary / name / (name if name in nested else "")).mkdir(parents=True)
        for index, window in enumerate(tiles.windows()):
            for name, read in readers.items():
                file = temporary / name / (name if name in nested else "") / f"{index}.tiff"
                values = read(window)
                grid = scene.grid.crop(window)
                with _new_tiff(file, _profile(grid, len(values), values.dtype)) as write:
                    write(values, grid.window)
            progress(index + 1, tiles.count, "tiles")
        (temporary / "tiles.yaml").write_text(yaml.safe_dump(stated, sort_keys=False), encoding="utf-8")


def write_mat(
    city: City | LabeledCity, file: Path, *, hdf5: bool | None = False, states_ids: bool = True,
    overwrite: bool = False, progress: Progress = no_progress,
) -> None:  # fmt: skip
    """Write a .mat file with HSI, MSI, SAR (row x column x band, on the native grids) and the label.

    The label of a classic file is in the same file. With ``hdf5`` (v7.3, reversed axes; None: if the arrays have more than
    1 GiB) it is in ``NAME_label.mat``. With ``states_ids`` the file says that its labels are class ids. The published ones do
    not, and their label mapping has to be detected.
    """
    _, scene = _single(city)
    _check_legend(city, "a .mat file")
    label_file = file.with_name(f"{file.stem}_label.mat")
    arrays = {_KEYS.get(name, name): _mat_reader(scene, name) for name in scene.modalities}
    if hdf5 is None:
        hdf5 = sum(math.prod(shape) * dtype.itemsize for shape, dtype, _ in arrays.values()) > _LARGEST_CLASSIC
    label: _Reader | None = None
    if isinstance(city, LabeledCity):
        size = (scene.grid.height, scene.grid.width, 1)
        label = (size, np.dtype(np.uint8), lambda window: city.read_label(0, window)[None])
    outputs = [Output(file), *([Output(label_file, "label")] if hdf5 and label is not None else [])]
    check_outputs(outputs, city_rasters(city), overwrite=overwrite)
    with commit(overwrite=overwrite) as files:
        place = files.add(file, main=True)
        if not hdf5:
            from scipy.io import savemat

            whole: dict[str, Any] = {key: _whole(reader) for key, reader in arrays.items()}
            if label is not None:
                whole |= {"label": _whole(label)[:, :, 0]} | ({LABEL_MAP: "challenge"} if states_ids else {})
            savemat(place, whole, do_compression=True)
        else:
            _write_hdf5(place, arrays, progress, states_ids=states_ids)
            if label is not None:
                _write_hdf5(files.add(label_file), {"label": label}, progress, states_ids=states_ids)


_Reader = tuple[tuple[int, int, int], np.dtype[Any], Callable[[Window], np.ndarray]]
"""Rows, columns, bands; data type; function that returns [C, H, W] of a window."""


def _check_legend(city: City | LabeledCity, layout: str) -> None:
    """Raise InputError for labels of other classes than those that a layout means without saying so."""
    if isinstance(city, LabeledCity) and city.images.legend.as_dict()["classes"] != c2seg13().as_dict()["classes"]:
        raise InputError(
            f"labels of {city.images.name!r} have the legend {city.images.legend.name!r}, for which {layout} has no place; "
            "write a folder of rasters"
        )


def _single(city: City | LabeledCity) -> tuple[City, Scene]:
    images = city.images if isinstance(city, LabeledCity) else city
    if len(images.scenes) != 1:
        raise InputError(f"city {images.name!r} has {len(images.scenes)} scenes; write them one by one")
    return images, images.scenes[0]


@contextmanager
def _new_folder(folder: Path, city: City | LabeledCity, *, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary folder that becomes ``folder``."""
    output = Output(folder, is_folder=True, replaces=lambda path: path.is_dir() and not any(path.iterdir()))
    check_outputs([output], city_rasters(city), overwrite=overwrite)
    with commit(overwrite=overwrite) as files:
        yield files.add(output)


def _describe(stack: Modality, file: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"file": file}
    described = [{key: value for key, value in asdict(band).items() if value} for band in stack.bands]
    if any(described):
        entry["bands"] = described
    if not stack.is_raw:
        entry["scale"], entry["offset"] = (
            list(amount) if isinstance(amount, tuple) else amount for amount in (stack.scale, stack.offset)
        )
    return entry


def _grid_of(scene: Scene, stack: Modality) -> Grid:
    """Return the native grid of a modality."""
    from affine import Affine

    relation = stack.relation
    corner = scene.grid.transform @ Affine.translation(relation.col_offset, relation.row_offset)
    return Grid(
        stack.source.height, stack.source.width, corner @ Affine.scale(relation.ratio, relation.ratio), scene.grid.crs
    )


def _valid_band(scene: Scene, window: Window) -> np.ndarray:
    return scene.read_valid(scene.modalities, window)[None].astype(np.uint8)


def _profile(grid: Grid, count: int, dtype: Any) -> dict[str, Any]:
    return {
        "driver": "GTiff", "height": grid.height, "width": grid.width, "count": count, "dtype": np.dtype(dtype).name,
        "transform": grid.transform, "crs": CRS.from_wkt(grid.crs) if grid.crs else None,
        "compress": "zstd", "zstd_level": 1, "interleave": "pixel" if count > 1 else "band", "bigtiff": "if_safer",
    }  # fmt: skip


def _write_tiff(
    path: Path, count: int, read: Callable[[Window], np.ndarray], grid: Grid, dtype: Any, nodata: float | None
) -> None:
    tiling = {"nodata": nodata, "tiled": True, "blockxsize": 128, "blockysize": 128}
    rows = max(1, _STRIP_BYTES // max(1, 128 * grid.width * count * np.dtype(dtype).itemsize)) * 128
    with _new_tiff(path, _profile(grid, count, dtype) | tiling) as write:
        for first in range(0, grid.height, rows):
            window = Window(first, 0, min(rows, grid.height - first), grid.width)
            write(read(window), window)


@contextmanager
def _new_tiff(path: Path, profile: dict[str, Any]) -> Iterator[Callable[[np.ndarray, Window], None]]:
    """Yield what writes [C, H, W] to a window of a new file; the finished file is read back."""
    checked = CheckedRaster(path)
    with raster_faults(path):
        with rasterio.open(path, "w", **profile) as dataset:
            yield partial(checked.write, dataset)
        checked.verify(path)


def _zero_filled(scene: Scene, name: str) -> Callable[[Window], np.ndarray]:
    """Return a reader of raw values on the fine grid, 0 where invalid. If the scale is not 1, values are scaled float32."""
    stack = scene.modality(name)

    def read(window: Window) -> np.ndarray:
        values, valid = scene.read(name, window)
        if stack.is_raw:
            values = stack.read(window)[0]
        return _zero_fill(values, valid, name)

    return read


def _zero_fill(values: np.ndarray, valid: np.ndarray, name: str) -> np.ndarray:
    lost = int((valid & (values == 0).all(axis=0)).sum())
    if lost:
        raise DataError(
            f"{lost} valid pixels of {name} have the value 0 in all bands, which means nodata in this layout; write a folder "
            "of rasters instead"
        )
    return np.where(valid, values, values.dtype.type(0))


def _mat_reader(scene: Scene, name: str) -> _Reader:
    stack = scene.modality(name)
    relation, source = stack.relation, stack.source
    aligned = relation.row_offset == relation.col_offset == 0
    overhang = source.height * relation.ratio - scene.grid.height, source.width * relation.ratio - scene.grid.width
    dtype = source.dtype if stack.is_raw else np.dtype(np.float32)
    if relation.ratio == 1 or not aligned or not all(0 <= px < 2 * relation.ratio for px in overhang):
        return (scene.grid.height, scene.grid.width, source.count), dtype, _zero_filled(scene, name)

    def read(window: Window) -> np.ndarray:
        values, weights = scene.read_native(name, window)
        return _zero_fill(source.read(window) if stack.is_raw else values, weights > 0, name)

    return (source.height, source.width, source.count), dtype, read


def _whole(reader: _Reader) -> np.ndarray:
    (height, width, count), dtype, read = reader
    out = np.empty((height, width, count), dtype)
    for window in blocks(Window(0, 0, height, width), 512):
        rows, cols = window.slices
        out[rows, cols] = read(window).transpose(1, 2, 0)
    return out


def _write_hdf5(path: Path, arrays: dict[str, _Reader], progress: Progress, *, states_ids: bool) -> None:
    """Write arrays as MATLAB v7.3: HDF5 after a text header of 512 bytes, with reversed axes."""
    with needs_extra("a .mat file of version 7.3", "mat"):
        import h5py

    with h5py.File(path, "w", userblock_size=512) as file:
        for done, (key, ((height, width, count), dtype, read)) in enumerate(arrays.items()):
            shape = (count, width, height) if key != "label" else (width, height)
            chunks = tuple(min(side, limit) for side, limit in zip(shape, (16, 128, 128)[-len(shape) :], strict=True))
            dataset = file.create_dataset(key, shape, dtype, chunks=chunks, compression="gzip", compression_opts=1)
            dataset.attrs["MATLAB_class"] = np.bytes_(
                {"float32": "single", "float64": "double"}.get(dtype.name, dtype.name)
            )
            for window in blocks(Window(0, 0, height, width), 512):
                rows, cols = window.slices
                values = read(window)
                if key == "label":
                    dataset[cols, rows] = values[0].T
                else:
                    dataset[:, cols, rows] = values.transpose(0, 2, 1)
            if key == "label" and states_ids:
                dataset.attrs[LABEL_MAP] = "challenge"
            progress(done + 1, len(arrays), key)
    with path.open("r+b") as stream:
        header = b"MATLAB 7.3 MAT-file, written by c2seg".ljust(116) + bytes(8) + b"\x00\x02IM"
        stream.write(header)
