"""Write a simulated city to disk, block by block, and complete its label as in published label rasters."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import yaml
from affine import Affine
from rasterio.crs import CRS
from scipy.ndimage import uniform_filter

from c2seg.errors import OutputError
from c2seg.legend import c2seg13
from c2seg.outputs import Output
from c2seg.progress import Progress, no_progress
from c2seg.raster import CheckedRaster, RasterFile, raster_faults, read_boundless, write_map
from c2seg.simulate.layout import lay_out_city
from c2seg.simulate.noise import derive_key, hash_uniform
from c2seg.simulate.render import HSI_RATIO, Chunk, Renderer
from c2seg.simulate.sensors import band_axis
from c2seg.simulate.specs import CitySpec
from c2seg.types import Grid, Window

__all__ = ["FILES", "CityInfo", "check_own_files", "city_output", "simulate_city"]

FILES = ("msi.tif", "hsi.tif", "sar.tif", "valid.tif", "reference.tif", "label.tif", "city.yaml")
BLOCK_ROWS, BLOCK_COLUMNS = 192, 384  # pixels per rendered block: multiples of the HSI ratio and of the files' tiles
_TRAINING_PIXELS = 20_000
_UNMAPPED_BIT = 128

_Put = Callable[[npt.NDArray[Any], Window], None]


@dataclass(frozen=True)
class CityInfo:
    """A written city: its folder, its role in the pair, its size, and the fraction of each ground truth class (0..1)."""

    path: Path
    name: str
    role: str
    height: int
    width: int
    shares: Mapping[int, float]
    label_agreement: float
    """Fraction of the labeled pixels whose label equals the ground truth."""


@dataclass
class _Tally:
    reference: npt.NDArray[np.int64]
    labeled: int = 0
    agreeing: int = 0


def city_output(folder: Path) -> Output:
    """Return the folder of a city as an output; an empty one may be taken without being asked."""
    return Output(folder, is_folder=True, replaces=lambda path: path.is_dir() and not any(path.iterdir()))


def check_own_files(folder: Path) -> None:
    """Raise OutputError if a folder holds more than a simulated city: it would be lost with the folder."""
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    others = [name for name in names if not any(name.startswith(file) for file in (*FILES, ".c2seg-tmp"))]
    if others:
        raise OutputError(
            f"{folder} holds {others[0]}, which is not of a simulated city; move it or give another folder"
        )


def simulate_city(
    folder: Path,
    spec: CitySpec,
    *,
    raster: npt.NDArray[np.uint8] | None = None,
    progress: Progress = no_progress,
) -> CityInfo:
    """Render a city to ``folder``, which is new and empty. Only the memory of its plan depends on the city's size.

    ``raster`` (uint8 ids on the fine grid) replaces the random layout. ``progress`` counts every pixel twice.
    """
    renderer = Renderer(lay_out_city(spec, raster))
    total = 2.0 * spec.height * spec.width
    tally = _Tally(np.zeros(256, np.int64))
    scratch = folder / ".label.scratch"
    try:
        _render_images(folder, renderer, scratch, tally, progress, total)
        _write_label(folder, spec, scratch, tally, progress, total)
    finally:
        scratch.unlink(missing_ok=True)
    (folder / "city.yaml").write_text(yaml.safe_dump(_describe(spec), sort_keys=False, width=1000), encoding="utf-8")
    counts = tally.reference[1:14]
    return CityInfo(
        path=folder, name=spec.name, role=spec.role, height=spec.height, width=spec.width,
        shares={i + 1: float(c / max(1, counts.sum())) for i, c in enumerate(counts)},
        label_agreement=tally.agreeing / max(1, tally.labeled),
    )  # fmt: skip


def _render_images(
    folder: Path, renderer: Renderer, scratch: Path, tally: _Tally, progress: Progress, total: float
) -> None:
    spec = renderer.spec
    with scratch.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, spec.height * spec.width)  # a full disk fails here, not as SIGBUS later
    label = np.memmap(scratch, np.uint8, "r+", shape=(spec.height, spec.width))
    done = 0.0
    with ExitStack() as stack:
        write = _open_files(stack, folder, spec, renderer)
        for row in range(0, spec.height, BLOCK_ROWS):
            for column in range(0, spec.width, BLOCK_COLUMNS):
                window = Window(row, column, BLOCK_ROWS, BLOCK_COLUMNS).intersect(spec.grid.window)
                chunk = renderer(window)
                write(chunk, window)
                tally.reference += np.bincount(chunk.reference[chunk.valid], minlength=256)
                raw = np.where(chunk.gap, chunk.label | _UNMAPPED_BIT, chunk.label)
                label[window.slices] = np.where(chunk.valid, raw, 0)
                done += window.height * window.width
                progress(done, total, f"{spec.name}: images")
    label.flush()


def _open_files(stack: ExitStack, folder: Path, spec: CitySpec, renderer: Renderer) -> Callable[[Chunk, Window], None]:
    """Open the image files and return a function that writes a chunk to all of them."""
    grid = spec.grid
    coarse = _hsi_grid(spec)
    hsi_grid = grid if spec.hsi_on_fine_grid else coarse
    hsi_tile = BLOCK_ROWS // 2 if spec.hsi_on_fine_grid else BLOCK_ROWS // HSI_RATIO
    _, _, msi_names = band_axis(spec.sensors["msi"])
    _, _, sar_names = band_axis(spec.sensors["sar"])
    hsi_nm, _, _ = band_axis(spec.sensors["hsi"])
    tile = BLOCK_ROWS

    def opened(name: str, where: Grid, tile_px: int, dtype: str, nodata: float | None, bands: list[str]) -> _Put:
        return stack.enter_context(_writer(folder / name, where, tile_px, dtype, nodata, bands))

    msi = opened("msi.tif", grid, tile, renderer.msi.dtype, 0, [b["name"] for b in msi_names])
    hsi = opened("hsi.tif", hsi_grid, hsi_tile, renderer.hsi.dtype, 0, [f"{nm:.1f} nm" for nm in hsi_nm])
    sar = opened("sar.tif", grid, tile, "float32", float("nan"), [b["name"] for b in sar_names])
    valid = opened("valid.tif", grid, tile, "uint8", None, ["valid"])
    reference = opened("reference.tif", grid, tile, "uint8", 0, ["true land cover"])

    def write(chunk: Chunk, window: Window) -> None:
        cubes = chunk.hsi
        if spec.hsi_on_fine_grid:
            cubes = cubes.repeat(HSI_RATIO, 1).repeat(HSI_RATIO, 2)[:, : window.height, : window.width]
            cubes = np.where(chunk.valid, cubes, 0).astype(cubes.dtype)
        hsi(cubes, window if spec.hsi_on_fine_grid else chunk.hsi_window)
        msi(np.where(chunk.valid, chunk.msi, 0).astype(chunk.msi.dtype), window)
        sar(np.where(chunk.valid, chunk.sar, np.float32(np.nan)), window)
        valid(chunk.valid.astype(np.uint8)[None], window)
        reference(np.where(chunk.valid, chunk.reference, 0).astype(np.uint8)[None], window)

    return write


@contextmanager
def _writer(path: Path, grid: Grid, tile: int, dtype: str, nodata: float | None, bands: list[str]) -> Iterator[_Put]:
    """Open a tiled GeoTIFF and yield what writes [C, H, W] to a window; the finished file is read back."""
    profile: dict[str, Any] = {
        "driver": "GTiff", "height": grid.height, "width": grid.width, "count": len(bands), "dtype": dtype,
        "crs": CRS.from_wkt(grid.crs) if grid.crs else None, "transform": grid.transform, "nodata": nodata,
        "tiled": True, "blockxsize": tile, "blockysize": tile, "interleave": "pixel" if len(bands) > 1 else "band",
        "compress": "ZSTD", "zstd_level": 1, "predictor": 3 if dtype == "float32" else 2, "bigtiff": "IF_SAFER",
    }  # fmt: skip
    checked = CheckedRaster(path)
    with raster_faults(path):
        with rasterio.open(path, "w", **profile) as dataset:
            for number, name in enumerate(bands, 1):
                dataset.set_band_description(number, name)
            yield partial(checked.write, dataset)
        checked.verify(path)


def _hsi_grid(spec: CitySpec) -> Grid:
    """Return the 30 m grid. It extends beyond the 10 m grid if the sides are not multiples of three."""
    grid = spec.grid
    window = grid.window.coarsen(HSI_RATIO)
    return Grid(window.height, window.width, grid.transform @ Affine.scale(HSI_RATIO), grid.crs)


def _write_label(folder: Path, spec: CitySpec, scratch: Path, tally: _Tally, progress: Progress, total: float) -> None:
    """Fill unmapped parcels by a classifier on the MSI, and write the label."""
    raw = np.memmap(scratch, np.uint8, "r", shape=(spec.height, spec.width))
    msi, reference = RasterFile(folder / "msi.tif"), RasterFile(folder / "reference.tif")
    forest = _train_filler(spec, raw, msi)

    def rows(first: int, last: int) -> npt.NDArray[np.uint8]:
        label = np.array(raw[first:last])
        for top in range(first, last, 64):
            part = label[top - first : top - first + 64]
            gap = part >= _UNMAPPED_BIT
            if forest is not None and gap.any():
                features = _features(msi, Window(top, 0, len(part), spec.width))
                part[gap] = forest.predict(features[:, gap].T)
        true = reference.read(Window(first, 0, last - first, spec.width))[0]
        tally.labeled += int((label > 0).sum())
        tally.agreeing += int(((label == true) & (label > 0)).sum())
        progress(total / 2 + last * spec.width, total, f"{spec.name}: label")
        return label[None]

    write_map(folder / "label.tif", rows, spec.grid, c2seg13(), overwrite=True, tags={"SOURCE": "simulated"})


def _train_filler(spec: CitySpec, raw: npt.NDArray[np.uint8], msi: RasterFile) -> Any:
    """Train a small forest on a random sample of the mapped pixels. None if there are no gaps."""
    rate = min(1.0, _TRAINING_PIXELS / (spec.height * spec.width))
    key = derive_key(spec.seed, spec.role, "filler")
    columns = np.arange(spec.width, dtype=np.int32)
    features, labels, gaps = [], [], False
    for top in range(0, spec.height, 64):
        part = np.array(raw[top : top + 64])
        gaps |= bool((part >= _UNMAPPED_BIT).any())
        rows = np.arange(top, top + len(part), dtype=np.int32)[:, None]
        sampled = (hash_uniform(key, rows, columns[None]) < rate) & (part > 0) & (part < _UNMAPPED_BIT)
        if sampled.any():
            features.append(_features(msi, Window(top, 0, len(part), spec.width))[:, sampled].T)
            labels.append(part[sampled])
    if not gaps or not labels:
        return None
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(12, max_depth=14, min_samples_leaf=4, n_jobs=1, random_state=key % 2**31)
    return forest.fit(np.concatenate(features), np.concatenate(labels))


def _features(msi: RasterFile, window: Window) -> npt.NDArray[np.float32]:
    """Return the bands and their 5 x 5 means, float32 [2 * bands, H, W]."""
    values, _ = read_boundless(msi, window.expand(2))
    values = values.astype(np.float32)
    smooth = np.stack([uniform_filter(band, 5, mode="nearest") for band in values])
    return np.concatenate([values[:, 2:-2, 2:-2], smooth[:, 2:-2, 2:-2]])


def _describe(spec: CitySpec) -> dict[str, Any]:
    """Return the content of city.yaml."""
    _, _, msi = band_axis(spec.sensors["msi"])
    _, _, sar = band_axis(spec.sensors["sar"])
    wavelengths, _, _ = band_axis(spec.sensors["hsi"])
    return {
        "name": spec.name,
        "legend": "c2seg13",
        "modalities": {
            "msi": {"file": "msi.tif", "bands": [dict(b) for b in msi], "scale": 1.0},
            "hsi": {"file": "hsi.tif", "wavelengths_nm": [round(float(nm), 2) for nm in wavelengths]},
            "sar": {"file": "sar.tif", "bands": [dict(b) for b in sar]},
        },
        "label": "label.tif",
        "valid": "valid.tif",
    }
