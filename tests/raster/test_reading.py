from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from c2seg.errors import DataError
from c2seg.raster import ArrayRaster, RasterFile, read_boundless
from c2seg.types import Window

VALUES = np.arange(3 * 41 * 57, dtype=np.int16).reshape(3, 41, 57)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=41, width=57, count=3, dtype="int16", nodata=-1, crs="EPSG:32632",
        transform=Affine(10, 0, 5e5, 0, -10, 5e6), tiled=True, blockxsize=16, blockysize=16, compress="deflate",
    ) as dataset:  # fmt: skip
        dataset.write(VALUES)
        dataset.set_band_description(2, "B3")
    return path


def test_file_knows_itself(file: Path) -> None:
    source = RasterFile(file)
    assert (source.count, source.height, source.width, source.dtype, source.nodata) == (3, 41, 57, np.int16, -1)
    assert source.descriptions == ("", "B3", "")
    assert RasterFile(file, (2, 0)).count == 2


def test_bands_are_read_in_the_order_asked_for(file: Path) -> None:
    window = Window(5, 7, 20, 11)
    assert np.array_equal(RasterFile(file, (2, 0)).read(window), VALUES[[2, 0], 5:25, 7:18])


@given(st.integers(-50, 60), st.integers(-70, 80), st.integers(1, 60), st.integers(1, 70))
def test_boundless_reads_equal_a_padded_array(row: int, col: int, height: int, width: int) -> None:
    padded = np.pad(VALUES, ((0, 0), (100, 200), (100, 200)), constant_values=-7)
    window = Window(row, col, height, width)
    values, inside = read_boundless(ArrayRaster(VALUES), window, fill=-7)
    rows, cols = window.shift(100, 100).slices
    assert np.array_equal(values, padded[:, rows, cols])
    assert np.array_equal(inside, (padded != -7).all(axis=0)[rows, cols])


def test_threads_read_the_same_file_max_parallel(file: Path) -> None:
    source = RasterFile(file)
    windows = [Window(r, c, 9, 9) for r in range(0, 32, 3) for c in range(0, 48, 3)]
    with ThreadPoolExecutor(8) as pool:
        for window, values in zip(windows, pool.map(source.read, windows), strict=True):
            assert np.array_equal(values, VALUES[(slice(None), *window.slices)])


def test_pickled_source_opens_its_own_handle(file: Path) -> None:
    source = RasterFile(file, (1,))
    source.read(Window(0, 0, 1, 1))
    again = pickle.loads(pickle.dumps(source))
    assert np.array_equal(again.read(Window(0, 0, 41, 57)), VALUES[1:2])


def test_fingerprint_follows_the_content(file: Path, tmp_path: Path) -> None:
    before = RasterFile(file).fingerprint()
    copy = tmp_path / "copy.tif"
    copy.write_bytes(file.read_bytes())
    assert RasterFile(copy).fingerprint() == before  # not the name, not the date
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    copy.write_bytes(data)
    assert RasterFile(copy).fingerprint() != before
    array = VALUES.copy()
    array[0, 0, 0] += 1
    assert ArrayRaster(array).fingerprint() != ArrayRaster(VALUES).fingerprint()


def test_truncated_blocks_name_file_and_place(tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    with rasterio.open(
        file, "w", driver="GTiff", height=41, width=57, count=1, dtype="int16", crs="EPSG:32632",
        transform=Affine(10, 0, 5e5, 0, -10, 5e6), tiled=True, blockxsize=16, blockysize=16,
    ) as dataset:  # fmt: skip
        dataset.write(VALUES[:1])
    data = file.read_bytes()
    file.write_bytes(data[: len(data) * 2 // 3])
    source = RasterFile(file)
    with pytest.raises(DataError, match=r"a\.tif at rows 30\.\.40, columns 40\.\.56: the file is truncated or damaged"):
        source.read(Window(30, 40, 11, 17))


@pytest.mark.parametrize("content", [b"", b"II*\0", b"text, no raster"])
def test_what_is_no_raster_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "b.tif"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"cannot open .*b\.tif as a raster" if content else r"b\.tif is empty"):
        RasterFile(path)
    with pytest.raises(DataError, match="does not exist"):
        RasterFile(tmp_path / "c.tif")
    with pytest.raises(DataError, match="is a folder; give a raster"):
        RasterFile(tmp_path)


def test_missing_bands_and_complex_values_are_refused(file: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has 3 bands; band 5 was requested"):
        RasterFile(file, (4,))
    path = tmp_path / "slc.tif"
    with rasterio.open(path, "w", driver="GTiff", height=4, width=4, count=1, dtype="complex64",
                       crs="EPSG:32632", transform=Affine(10, 0, 0, 0, -10, 0)) as dataset:  # fmt: skip
        dataset.write(np.ones((1, 4, 4), np.complex64))
    with pytest.raises(DataError, match="complex"):
        RasterFile(path)
    with pytest.raises(DataError, match="axes"):
        ArrayRaster(np.zeros((3, 3)))
