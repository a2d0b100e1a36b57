"""RPCs place pixels where GDAL places them, on elevation models of any vertical datum."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS
from rasterio.transform import RPCTransformer
from rasterio.warp import transform

from c2seg.errors import DataError
from c2seg.products import ProductBand, ProductFacts
from c2seg.products.elevation import open_elevation
from c2seg.products.native import GdalFile
from c2seg.products.rpc import RpcImage, RpcProduct
from c2seg.products.rpc_model import parse_rpc
from c2seg.types import Grid, Window
from products.make_gaofen import LAT, LON, rpb, rpc, rpc_txt, write_dem, write_plain

SHAPE = (120, 140)
PIXEL_M = 20.0
UTM = CRS.from_epsg(32632).to_wkt()


def grid(pixel_m=PIXEL_M, size=90, shift=(0.0, 0.0)):
    x, y = (side[0] for side in transform("EPSG:4326", "EPSG:32632", [LON], [LAT]))
    half = size * pixel_m / 2
    return Grid(size, size, Affine(pixel_m, 0, x - half + shift[0], 0, -pixel_m, y + half - shift[1]), UTM)


def product(folder, elevation=None, values=None):
    """An image whose bands hold their own row and column numbers."""
    values = np.indices(SHAPE).astype(np.float32) if values is None else values
    path = write_plain(folder / "image.tif", values)
    model = parse_rpc(rpb(rpc(*SHAPE, PIXEL_M)), "x.rpb")
    count = len(values)
    image = RpcImage(
        GdalFile(path), model, *SHAPE, tuple(range(1, count + 1)), tuple(range(count)), (1.0,) * count, (0.0,) * count
    )
    facts = ProductFacts(kind="msi", sensor="", product="", unit="raw")
    return RpcProduct(facts, (ProductBand("x"),) * count, ((image,),), elevation)


def lonlat(target):
    cols, rows = np.meshgrid(np.arange(target.width) + 0.5, np.arange(target.height) + 0.5)
    x, y = target.transform @ (cols, rows)
    lon, lat = transform(target.crs, "EPSG:4326", x.ravel().tolist(), y.ravel().tolist())
    return np.array(lon).reshape(x.shape), np.array(lat).reshape(x.shape)


def test_both_formats_give_one_model():
    model = rpc(*SHAPE, PIXEL_M)
    assert parse_rpc(rpb(model), "a.rpb") == parse_rpc(rpc_txt(model), "a_rpc.txt")


def test_rows_and_columns_are_those_of_gdal_at_one_height(tmp_path):
    target = grid()
    values, valid = product(tmp_path).warp(target, target.window)
    assert valid.mean() > 0.9
    lon, lat = lonlat(target)
    with RPCTransformer(rpc(*SHAPE, PIXEL_M), RPC_HEIGHT="500") as transformer:
        rows, cols = transformer.rowcol(lon.ravel().tolist(), lat.ravel().tolist(), op=float)
    rows, cols = (np.reshape(side, lon.shape) - 0.5 for side in (rows, cols))  # GDAL counts from corners
    assert np.abs(values[0] - rows)[valid].max() < 2e-3
    assert np.abs(values[1] - cols)[valid].max() < 2e-3


def test_a_hill_is_moved_back_and_vertical_datums_are_converted(tmp_path):
    target = grid()
    lon, lat = lonlat(target)
    model = parse_rpc(rpb(rpc(*SHAPE, PIXEL_M)), "x.rpb")
    flat = product(tmp_path).warp(target, target.window)
    for datum, undulation in (("ellipsoid", 0.0), ("egm96", 46.0)):
        elevation = open_elevation(write_dem(tmp_path / f"{datum}.tif", hill_m=300), datum)
        values, valid = product(tmp_path, elevation).warp(target, target.window)
        heights = elevation.heights(target, target.window)
        rows, cols = model.pixels(lon, lat, heights)
        assert np.abs(values[1] - cols)[valid].max() < 0.01
        assert np.abs(values[0] - rows)[valid].max() < 0.01
        moved = (values[1] - flat.values[1])[45, 45] * PIXEL_M
        assert moved == pytest.approx(0.4 * (300 + undulation), abs=2.5)


def test_windows_are_parts_of_the_whole_and_coarser_grids_take_means(tmp_path):
    elevation = open_elevation(write_dem(tmp_path / "dem.tif", hill_m=200), "ellipsoid")
    image = product(tmp_path, elevation)
    target = grid(size=600)  # two blocks along each side
    whole = image.warp(target, target.window)
    for window in (Window(280, 290, 60, 50), Window(500, 480, 30, 80), Window(-5, -5, 20, 20)):
        part = image.warp(target, window)
        inside = window.intersect(target.window)
        np.testing.assert_array_equal(
            part.values[:, *inside.shift(-window.row, -window.col).slices], whole.values[:, *inside.slices]
        )
    checker = (np.indices(SHAPE).sum(axis=0) % 2).astype(np.float32)[None]
    coarse = grid(pixel_m=80, size=18)
    values, valid = product(tmp_path, None, checker).warp(coarse, coarse.window)
    assert valid.sum() > 100
    assert np.abs(values[0][valid] - 0.5).max() < 0.13


@pytest.mark.parametrize(("change", "match"), [
    (lambda text: text.replace("lineScale", "lines"), r"lacks the scale of line; it is no file of rational polynomials"),
    (lambda text: text.replace("lineOffset = 60.0", "lineOffset = x"), r"'x' is no number"),
    (lambda text: text[: text.index("sampDenCoef")], r"has 0 coefficients samp_den, 20 are needed"),
    (lambda text: text.replace("latScale = ", "latScale = 0; was = "), "has a scale of 0"),
])  # fmt: skip
def test_damaged_files_are_said(change, match):
    with pytest.raises(DataError, match=match):
        parse_rpc(change(rpb(rpc(*SHAPE, PIXEL_M))), "x.rpb")
