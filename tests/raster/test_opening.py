"""What may be opened: drivers by the name of the file, sources of a VRT in its folder, nothing else that content names."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.errors import NotGeoreferencedWarning

from c2seg.errors import DataError
from c2seg.raster import RasterFile, data_files, open_raster
from c2seg.types import Window
from helpers.odd_rasters import ramp, write_odd, write_vrt


def test_a_tif_that_is_a_virtual_raster_or_a_network_source_is_refused(tmp_path):
    write_odd(tmp_path / "secret.tif", ramp())
    disguised = write_vrt(tmp_path / "map.tif", "secret.tif", (3, 20, 30))
    with pytest.raises(DataError, match="its content is not GTiff"):
        open_raster(disguised)
    disguised.write_text('<GDAL_WMS><Service name="TMS"><ServerUrl>http://localhost/</ServerUrl></Service></GDAL_WMS>')
    with pytest.raises(DataError, match="its content is not GTiff"):
        RasterFile(disguised)


def test_a_vrt_reads_files_of_its_folder_and_of_folders_that_are_allowed(tmp_path, monkeypatch):
    values = ramp()
    write_odd(tmp_path / "city/parts/tile.tif", values)
    inside = write_vrt(tmp_path / "city/m.vrt", "parts/tile.tif", values.shape)
    whole = Window(0, 0, 20, 30)
    assert np.array_equal(RasterFile(inside).read(whole), values)
    assert data_files(inside) == (inside, (tmp_path / "city/parts/tile.tif").resolve())
    for source, relative in (("../other/tile.tif", True), (str(tmp_path / "other/tile.tif"), False)):
        write_odd(tmp_path / "other/tile.tif", values)
        outside = write_vrt(tmp_path / "city/n.vrt", source, values.shape, relative=relative)
        with pytest.raises(DataError, match="outside its folder"):
            open_raster(outside)
        monkeypatch.setenv("C2SEG_VRT_FOLDERS", str(tmp_path / "other"))
        assert np.array_equal(RasterFile(outside).read(whole), values)
        monkeypatch.delenv("C2SEG_VRT_FOLDERS")


def test_links_count_by_where_they_lead(tmp_path):
    values = ramp()
    write_odd(tmp_path / "other/tile.tif", values)
    (tmp_path / "city").mkdir()
    (tmp_path / "city/tile.tif").symlink_to(tmp_path / "other/tile.tif")
    with pytest.raises(DataError, match="outside its folder"):
        open_raster(write_vrt(tmp_path / "city/m.vrt", "tile.tif", values.shape))


@pytest.mark.parametrize("source", [
    "/vsicurl/http://localhost/a.tif", "NETCDF:a.nc:b", "vrt://a.tif?bands=1", "&lt;GDAL_WMS&gt;&lt;/GDAL_WMS&gt;",
])  # fmt: skip
def test_a_vrt_names_plain_files_only(tmp_path, source):
    with pytest.raises(DataError, match="not a plain file"):
        open_raster(write_vrt(tmp_path / "m.vrt", source, (1, 4, 4)))


def test_a_vrt_inside_a_vrt_is_held_to_the_same(tmp_path):
    write_odd(tmp_path / "out.tif", ramp())
    write_vrt(tmp_path / "city/inner.vrt", "../out.tif", (3, 20, 30))
    with pytest.raises(DataError, match="outside its folder"):
        open_raster(write_vrt(tmp_path / "city/outer.vrt", "inner.vrt", (3, 20, 30)))
    looped = write_vrt(tmp_path / "city/loop.vrt", "loop.vrt", (3, 20, 30))
    with pytest.raises(DataError, match="nested"):
        open_raster(looped)


def test_a_vrt_with_a_program_or_raw_bytes_of_elsewhere_is_refused(tmp_path):
    program = write_vrt(
        tmp_path / "p.vrt", "a.tif", (1, 4, 4), extra="<PixelFunctionCode>import os</PixelFunctionCode>"
    )
    with pytest.raises(DataError, match="contains a program"):
        open_raster(program)
    (tmp_path / "bytes").write_bytes(bytes(64))
    (tmp_path / "city").mkdir()
    raw = tmp_path / "city/raw.vrt"
    raw.write_text(
        '<VRTDataset rasterXSize="4" rasterYSize="4"><VRTRasterBand dataType="Byte" band="1" subClass="VRTRawRasterBand">'
        '<SourceFilename relativeToVRT="1">../bytes</SourceFilename></VRTRasterBand></VRTDataset>'
    )
    with pytest.raises(DataError, match="outside its folder"):
        open_raster(raw)


def test_pages_and_variables_are_chosen_by_name(tmp_path):
    from scipy.io import netcdf_file

    with netcdf_file(str(tmp_path / "cube.nc"), "w") as file:
        file.createDimension("y", 4)
        file.createDimension("x", 5)
        for number, name in enumerate(("B2", "B3")):
            file.createVariable(name, "i2", ("y", "x"))[:] = np.full((4, 5), number + 7)
    with pytest.raises(DataError, match=r"2 variables \(B2, B3\); name one with `subdataset:`"):
        RasterFile(tmp_path / "cube.nc")
    assert (RasterFile(tmp_path / "cube.nc", subdataset="B3").read(Window(0, 0, 4, 5)) == 8).all()
    with pytest.raises(DataError, match="no subdataset 'B9'"):
        RasterFile(tmp_path / "cube.nc", subdataset="B9")
    pages = write_odd(tmp_path / "pages.tif", ramp(1))
    with rasterio.open(pages, "r") as dataset:
        profile = dataset.profile
    with rasterio.open(f"GTIFF_DIR:1:{pages}"), rasterio.open(pages, "w", **profile, APPEND_SUBDATASET="NO") as dataset:
        dataset.write(ramp(1))
    with rasterio.open(pages, "w", **profile, APPEND_SUBDATASET="YES") as dataset:
        dataset.write(ramp(1) + 1)
    with pytest.raises(DataError, match="has 2 pages"):
        RasterFile(pages)
    assert np.array_equal(RasterFile(pages, subdataset="2").read(Window(0, 0, 20, 30)), ramp(1) + 1)


def test_other_files_are_named_for_what_they_are(tmp_path):
    (tmp_path / "l.geojson").write_text("{}")
    with pytest.raises(DataError, match="is a vector file, not a raster"):
        open_raster(tmp_path / "l.geojson")
    (tmp_path / "x.dat").write_bytes(bytes(100))
    with pytest.raises(DataError, match="none of ENVI"):
        open_raster(tmp_path / "x.dat")
    with pytest.raises(DataError, match="does not exist"):
        open_raster(tmp_path / "none.tif")


def test_files_without_a_grid_are_refused_with_the_way_out(tmp_path):
    path = write_odd(tmp_path / "g.tif", ramp(), transform=None, crs=None)
    points = [GroundControlPoint(r, c, 11 + c * 1e-4, 48 - r * 1e-4, 0) for r in (0, 20) for c in (0, 30)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        dataset = rasterio.open(path, "r+")
    with dataset:
        dataset.gcps = (points, rasterio.crs.CRS.from_epsg(4326))
    with pytest.raises(DataError, match="ground control points only; warp it"):
        RasterFile(path)


@pytest.mark.parametrize("suffix", [".nc", ".h5"])
@pytest.mark.parametrize("how", ["external", "virtual", "link"])
def test_hdf5_files_hold_their_values_themselves(tmp_path, suffix, how):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["secret"] = np.ones((4, 5), np.float32)
    (tmp_path / "bytes").write_bytes(bytes(80))
    with h5py.File(tmp_path / f"a{suffix}", "w") as file:
        group = file.create_group("g")
        if how == "external":
            group.create_dataset("x", (4, 5), "f4", external=[(str(tmp_path / "bytes"), 0, 80)])
        elif how == "link":
            group["x"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/secret")
        else:
            layout = h5py.VirtualLayout((4, 5), "f4")
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "secret", (4, 5))
            group.create_virtual_dataset("x", layout)
    with pytest.raises(DataError, match="which is not read; write a file that holds the values"):
        open_raster(tmp_path / f"a{suffix}")


def test_an_hdf5_file_of_its_own_values_is_read(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.arange(20, dtype=np.float32).reshape(4, 5)
        file["again"] = h5py.SoftLink("/")
    assert RasterFile(tmp_path / "a.h5").read(Window(0, 0, 4, 5)).sum() == 190


@pytest.mark.parametrize("name", ["a.tif.aux.xml", "a.tif.msk", "a.hdr", "A.TIF.AUX.XML"])
def test_a_pipe_beside_a_raster_is_refused(tmp_path, name):
    path = write_odd(tmp_path / "a.tif", ramp())
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match="is no regular file; remove it"):
        open_raster(path)
    with pytest.raises(DataError, match="is no regular file"):
        open_raster(write_vrt(tmp_path / "m.vrt", "a.tif", (3, 20, 30)))
