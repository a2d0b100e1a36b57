"""The contract of readers of satellite products."""

from __future__ import annotations

import pickle
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import transform

from c2seg.products import Product, ProductOptions, Reader
from c2seg.testing.expect import expect
from c2seg.types import Grid, Window

__all__ = ["check_product_reader"]

_DEGREES = "EPSG:4326"


def check_product_reader(reader: Reader, path: Path, options: ProductOptions | None = None) -> None:
    """Check a reader against the contract, on a product that it opens. Raises AssertionError.

    It warps a part of the product's middle; at least one pixel there must be valid.
    """
    expect(bool(reader.LOOKS_FOR), "LOOKS_FOR is empty")
    expect(reader.recognize(path) is True, f"{path} is not recognized")
    with TemporaryDirectory() as folder:
        _check_other_paths(reader, Path(folder))
    product = reader.open(path, options or ProductOptions())
    _check_facts(product)
    grid = _middle(product)
    whole = _check_warped(product, grid)
    _check_windows(product, grid, whole)
    again: Product = pickle.loads(pickle.dumps(product))
    same = np.array_equal(again.warp(grid, Window(0, 0, 20, 30)).values, whole[:, :20, :30])
    expect(same, "a pickled product has other pixels")


def _check_other_paths(reader: Reader, folder: Path) -> None:
    text, empty = folder / "notes.txt", folder / "empty"
    empty.mkdir()
    text.write_text("no product")
    for path in (text, empty, folder / "nowhere"):
        expect(reader.recognize(path) is False, f"{path.name} is recognized, but is no product")


def _check_facts(product: Product) -> None:
    facts = product.facts
    expect(facts.kind in ("msi", "hsi", "sar"), f"kind is {facts.kind!r}")
    expect(facts.unit in ("reflectance", "dB", "raw"), f"unit is {facts.unit!r}")
    expect(bool(facts.sensor and facts.product), "sensor or product has no name")
    expect(bool(facts.files), "no file is named: provenance needs all that are read")
    strangers = [file for file in facts.files if not file.is_file()]
    expect(not strangers, f"facts.files names {strangers[:1]}, which is no file")
    expect(facts.acquired is None or facts.acquired.tzinfo is not None, "acquired has no time zone; it is in UTC")
    names = [band.name for band in product.bands]
    expect(bool(names) and len(set(names)) == len(names), f"band names are not unique: {names}")
    west, south, east, north = product.bounds_lonlat
    expect(-180 <= west <= 180 and -180 <= east <= 180 and south < north, f"bounds are {product.bounds_lonlat}")
    expect(product.resolution_m > 0, f"resolution is {product.resolution_m}")


def _middle(product: Product) -> Grid:
    """Return a grid of at most 200 pixels a side around the product's middle, in its UTM zone."""
    west, south, east, north = product.bounds_lonlat
    longitude = (west + ((east - west) % 360) / 2 + 180) % 360 - 180
    latitude = (south + north) / 2
    crs = CRS.from_epsg((32600 if latitude >= 0 else 32700) + min(60, int((longitude + 180) // 6) + 1))
    (x,), (y,) = transform(_DEGREES, crs, [longitude], [latitude])
    side = product.resolution_m
    return Grid(200, 200, Affine(side, 0, x - 100 * side, 0, -side, y + 100 * side), crs.to_wkt())


def _check_warped(product: Product, grid: Grid) -> np.ndarray:
    values, valid = product.warp(grid, grid.window)
    expected = (len(product.bands), grid.height, grid.width)
    expect(values.shape == expected and values.dtype == np.float32, f"values are {values.dtype} {values.shape}")
    expect(valid.shape == expected[1:] and valid.dtype == bool, f"validity is {valid.dtype} {valid.shape}")
    expect(bool(valid.any()), "no pixel in the product's middle is valid")
    expect(bool(np.isfinite(values).all()), "values are not finite")
    expect(not values[:, ~valid].any(), "invalid pixels are not 0")
    return values


def _check_windows(product: Product, grid: Grid, whole: np.ndarray) -> None:
    for window in (Window(0, 0, 70, 200), Window(37, 41, 90, 60), Window(199, 199, 1, 1)):
        part = product.warp(grid, window)
        rows, cols = window.slices
        expect(np.array_equal(part.values, whole[:, rows, cols]), f"pixels depend on the window ({window})")
    outside = Window(-30, -20, 40, 40)
    expect(product.warp(grid, outside).values.shape[1:] == (40, 40), "a window that begins outside the grid is cut")
