"""Digests of content: one byte anywhere changes them, another folder or machine does not."""

from __future__ import annotations

import os
import shutil
import time

import numpy as np
import pytest

from c2seg.raster import RasterFile, data_files, digests
from helpers.odd_rasters import ramp, write_odd, write_vrt


@pytest.fixture(autouse=True)
def fresh(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "_remembered", {})


def make(folder):
    """A VRT over a TIFF with a mask beside it and metadata, as one raster."""
    values = ramp(2, 40, 50)
    mask = np.ones((40, 50), bool)
    mask[:5] = False
    write_odd(folder / "parts/tile.tif", values, mask=mask, internal=False)
    (folder / "parts/tile.tif.aux.xml").write_text("<PAMDataset></PAMDataset>")
    return write_vrt(folder / "m.vrt", "parts/tile.tif", values.shape)


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a careless copy keeps the time


def test_a_byte_anywhere_changes_the_digest(tmp_path):
    path = make(tmp_path / "city")
    raster = RasterFile(path)
    files = data_files(path)
    assert [file.name for file in files] == ["m.vrt", "tile.tif", "tile.tif.aux.xml", "tile.tif.msk"]
    first = raster.fingerprint()
    for file in files[1:]:
        for place in np.linspace(0, file.stat().st_size - 1, 7).astype(int):
            flip(file, place)
            assert raster.fingerprint() != first, (file.name, place)
            flip(file, place)
            assert raster.fingerprint() == first
    path.write_text(path.read_text().replace('band="2"', 'band="2" '))
    assert raster.fingerprint() != first


def test_a_new_mask_or_source_changes_the_digest(tmp_path):
    path = make(tmp_path / "city")
    first = RasterFile(path).fingerprint()
    (tmp_path / "city/m.vrt.msk").write_bytes(b"mask")
    assert RasterFile(path).fingerprint() != first


def test_a_copy_elsewhere_has_the_same_digest(tmp_path):
    path = make(tmp_path / "city")
    shutil.copytree(tmp_path / "city", tmp_path / "other")
    assert RasterFile(path).fingerprint() == RasterFile(tmp_path / "other/m.vrt").fingerprint()
    assert RasterFile(path, (0,)).fingerprint() != RasterFile(path, (1,)).fingerprint()


def test_a_digest_is_remembered_only_while_the_file_stands_as_it_was(tmp_path, monkeypatch):
    file = tmp_path / "a.bin"
    file.write_bytes(bytes(1000))
    reads = []
    monkeypatch.setattr(digests, "_read", lambda path, read=digests._read: reads.append(path) or read(path))
    first = digests.files_digest([file])
    digests.files_digest([file])
    assert len(reads) == 2  # it changed just now, and might change again within the resolution of its times
    settled = time.time_ns() + 10 * digests._SETTLED_NS
    monkeypatch.setattr(digests.time, "time_ns", lambda: settled)
    digests.files_digest([file])
    assert digests.files_digest([file]) == first
    assert len(reads) == 3
    flip(file, 500)  # the same size and time of modification
    assert digests.files_digest([file]) != first


def test_digests_of_large_files_outlive_the_process(tmp_path, monkeypatch):
    monkeypatch.setattr(digests, "_LARGE_BYTES", 100)
    settled = time.time_ns() + 10 * digests._SETTLED_NS
    monkeypatch.setattr(digests.time, "time_ns", lambda: settled)
    file = tmp_path / "a.bin"
    file.write_bytes(bytes(1000))
    first = digests.files_digest([file])
    monkeypatch.setattr(digests, "_remembered", {})
    monkeypatch.setattr(digests, "_read", lambda path: pytest.fail("it was read again"))
    assert digests.files_digest([file]) == first
    (memory,) = (tmp_path / "cache/c2seg/digests").iterdir()
    memory.write_text("{}")
    monkeypatch.setattr(digests, "_remembered", {})
    with pytest.raises(pytest.fail.Exception):
        digests.files_digest([file])
