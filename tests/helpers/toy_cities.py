"""Small cities made by code: real CRS and types, uneven sizes, HSI at 30 m overhanging a 10 m grid, an invalid corner."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS

from c2seg.data import TileGrid, write_tiles
from c2seg.data.city import Band, City, Label, LabeledCity, Layer, Modality, Scene
from c2seg.data.published import CITIES, DATASETS
from c2seg.legend import c2seg13
from c2seg.raster import ArrayRaster, GridRelation
from c2seg.types import Grid

UTM = CRS.from_epsg(32632)
MSI_BANDS = tuple(Band(role=role) for role in ("blue", "green", "red", "nir"))


def smooth(rng: np.random.Generator, bands: int, height: int, width: int) -> np.ndarray:
    """Return float64 [C, H, W] about 2000 +- 300 with structure at all scales, no two rows alike."""
    field = np.cumsum(np.cumsum(rng.normal(size=(bands, height, width)), axis=1), axis=2)
    return 2000 + 300 * (field - field.mean()) / field.std() + rng.normal(size=field.shape)


def make_city(height: int = 150, width: int = 130, seed: int = 0, name: str = "Toy", ratio: int = 3) -> LabeledCity:
    rng = np.random.default_rng(seed)
    grid = Grid(height, width, Affine(10, 0, 500_000, 0, -10, 5_000_000), UTM.to_wkt())
    label = rng.integers(0, 14, (height // 10 + 1, width // 10 + 1)).astype(np.uint8)
    label = np.kron(label, np.ones((10, 10), np.uint8))[None, :height, :width]
    msi = smooth(rng, 4, height, width)
    msi[3, label[0] == 1] = 300  # water is dark in the near infrared
    stacks = {
        "msi": (msi.astype(np.uint16), GridRelation(), MSI_BANDS),
        "sar": ((smooth(rng, 2, height, width) / 300 - 18).astype(np.float32), GridRelation(), (Band(), Band())),
        "hsi": (
            smooth(rng, 6, -(-height // ratio), -(-width // ratio)).astype(np.uint16), GridRelation(ratio), (Band(),) * 6
        ),
    }  # fmt: skip
    modalities = {
        key: Modality(ArrayRaster(array), relation, "", key, bands) for key, (array, relation, bands) in stacks.items()
    }
    valid = np.ones((1, height, width), np.uint8)
    valid[:, :20, :31] = 0
    scene = Scene(name, grid, modalities, Layer(ArrayRaster(valid)))
    return LabeledCity(City(name, c2seg13(), (scene,)), (Label(ArrayRaster(label)),))


def write_raster(
    path: Path, values: np.ndarray, *, crs: CRS | None = UTM, size_m: float = 10.0, x: float = 500_000.0,
    nodata: float | None = None, **profile: object,
) -> Path:  # fmt: skip
    """Write [C, H, W] as GeoTIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"driver": "GTiff", "count": len(values), "height": values.shape[1], "width": values.shape[2]}
    options |= {"dtype": values.dtype, "nodata": nodata, "transform": Affine(size_m, 0, x, 0, -size_m, 5_000_000)}
    with rasterio.open(path, "w", crs=crs, **options, **profile) as dataset:
        dataset.write(values)
    return path


def sparse_classic_mat(path: Path, arrays: dict[str, tuple[tuple[int, ...], str]]) -> None:
    """Write a classic .mat file of zeros that takes no room on disk: headers, then holes (MAT-File Format, level 5)."""
    kinds = {"uint8": (9, 2, 1), "uint16": (11, 4, 2), "single": (7, 7, 4)}  # class, type of the data, bytes
    with path.open("wb") as stream:
        stream.write(b"MATLAB 5.0 MAT-file, made by a test".ljust(116) + bytes(8) + b"\x00\x01IM")
        for name, (shape, kind) in arrays.items():
            code, data_type, width = kinds[kind]
            size = int(np.prod(shape)) * width
            padded = -(-size // 8) * 8
            dims = struct.pack(f"<II{len(shape)}i", 5, 4 * len(shape), *shape)
            dims += bytes(-len(dims) % 8)
            text = struct.pack("<II", 1, len(name)) + name.encode() + bytes(-len(name) % 8)
            head = struct.pack("<IIII", 6, 8, code, 0) + dims + text + struct.pack("<II", data_type, size)
            stream.write(struct.pack("<II", 14, len(head) + padded) + head)
            stream.seek(padded, 1)
        stream.truncate(stream.tell())


def small_augsburg(out: Path, monkeypatch: pytest.MonkeyPatch, order: str = "columns") -> Path:
    """Write a release of a city that the table calls Augsburg, at a size for tests, without tiles.yaml."""
    from c2seg.data import published
    from c2seg.data.layouts import tiles as layout

    tiny = replace(CITIES["Augsburg"], height=150, width=130)
    tiling = lambda self, orders=("columns", "rows"): tuple(  # noqa: E731
        TileGrid(150, 130, 128, 64, o) for o in orders
    )
    monkeypatch.setattr(published.PublishedCity, "tile_grids", tiling)
    monkeypatch.setitem(published.CITIES, "Augsburg", tiny)
    monkeypatch.setitem(published.DATASETS, "C2Seg-AB", replace(DATASETS["C2Seg-AB"], hsi_bands=6))
    monkeypatch.setattr(layout, "city_of_tiles", lambda count, px: tiny)
    write_tiles(make_city(), out / "C2Seg_AB" / "train", TileGrid(150, 130, 128, 64, order), nested=("hsi",))  # type: ignore[arg-type]
    (out / "C2Seg_AB" / "train" / "tiles.yaml").unlink()
    return out / "C2Seg_AB" / "train"
