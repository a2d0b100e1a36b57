"""Rasters in parts, and files that any process writes whole or not at all."""

from __future__ import annotations

import os
from itertools import pairwise

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS

from c2seg.checksums import checksum
from c2seg.errors import OutputError
from c2seg.raster import (
    RasterPart,
    RasterTags,
    assemble_cog,
    part_bytes,
    parts_text,
    put_whole,
    remove_stored,
    stored,
    stored_folders,
    stored_marks,
    stored_text,
    sync_stored,
    write_cog,
)
from c2seg.types import Grid, Window

EDGES = (0, 100, 384, 400, 1100, 1300)
GRID = Grid(1300, 700, Affine(10, 0, 5e5, 0, -10, 5e6), CRS.from_epsg(32632).to_wkt())
PLAIN = Grid(1300, 700, Affine.identity())
TAGS = RasterTags({"SOFTWARE": "c2seg", "SCALE": "0.005"}, [], ["water", "<grass> & trees"])
VALUES = (np.random.default_rng(0).integers(-2, 3, (2, 1300, 700)).cumsum(axis=2) % 201).astype(np.uint8)


def write_parts(folder, grid):
    """Write parts of uneven heights; return the text of their VRT and the checksums of their pixels."""
    parts, sums = [], {}
    for first, last in pairwise(EDGES):
        values = VALUES[:, first:last]
        put_whole(folder / f"{first}.tif", part_bytes(values, first, grid, TAGS, 255))
        parts.append(RasterPart(str(folder / f"{first}.tif"), first, last))
        sums[Window(first, 0, last - first, grid.width)] = checksum(values)
    return parts_text(parts, grid, TAGS, 2, 255), sums


@pytest.mark.parametrize("grid", [GRID, PLAIN], ids=["utm", "plain"])
def test_a_file_of_parts_has_the_bytes_of_one_written_at_once(tmp_path, grid):
    write_cog(
        tmp_path / "one.tif", lambda first, last: VALUES[:, first:last], grid, count=2, dtype=np.uint8, nodata=255,
        overwrite=False, tags=TAGS,
    )  # fmt: skip
    assemble_cog(tmp_path / "of parts.tif", *_swapped(write_parts(tmp_path / "parts", grid), grid), overwrite=False)
    assert (tmp_path / "of parts.tif").read_bytes() == (tmp_path / "one.tif").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"one.tif", "of parts.tif", "parts"}


def _swapped(written, grid):
    text, sums = written
    return text, grid, sums


@pytest.mark.parametrize("assembled", [True, False])
def test_overviews_are_built_once(tmp_path, monkeypatch, assembled):
    """What was built before the copy is in the file, even where it is not what the copy would build."""
    calls = []
    real = rasterio.io.DatasetWriter.build_overviews

    def build_overviews(dataset, factors, resampling):
        calls.append(list(factors))
        return real(dataset, factors, rasterio.enums.Resampling.mode)

    monkeypatch.setattr(rasterio.io.DatasetWriter, "build_overviews", build_overviews, raising=False)
    path = tmp_path / "map.tif"
    if assembled:
        assemble_cog(path, *_swapped(write_parts(tmp_path / "parts", GRID), GRID), overwrite=False)
    else:
        write_cog(
            path, lambda first, last: VALUES[:, first:last], GRID, count=2, dtype=np.uint8, nodata=255, overwrite=False
        )
    assert calls == [[2, 4]]
    with rasterio.open(path, overview_level=0) as dataset:
        assert (dataset.read() != VALUES[:, ::2, ::2]).mean() > 0.1  # not the nearest ones, which the copy would build


def test_a_file_that_differs_from_its_parts_is_told(tmp_path):
    text, sums = write_parts(tmp_path / "parts", GRID)
    put_whole(tmp_path / "parts" / "100.tif", part_bytes(VALUES[:, 101:385], 100, GRID, TAGS, 255))
    with pytest.raises(OutputError, match="reads back differently"):
        assemble_cog(tmp_path / "map.tif", text, GRID, sums, overwrite=False)
    assert not (tmp_path / "map.tif").exists()


def test_files_are_whole_or_absent(tmp_path, monkeypatch):
    folder = tmp_path / "new" / "folder"
    mark = put_whole(folder / "a", b"content")
    assert stored_marks(folder) == {"a": mark}
    assert put_whole(folder / "a", b"contenu") != mark

    def stopped(*_):
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patched:
        patched.setattr(stored.os, "replace", stopped)
        with pytest.raises(OutputError, match="make room"):
            put_whole(folder / "a", b"content")
    assert stored_text(folder / "a") == "contenu"
    (folder / ".part-b.0").write_bytes(b"half")  # of a process that was killed
    assert list(stored_marks(folder)) == ["a"]
    assert [path.name for path in folder.iterdir()] == ["a"]
    sync_stored(folder)
    with pytest.raises(OutputError, match="cannot write"):
        sync_stored(tmp_path / "nothing")
    with pytest.raises(OutputError, match="cannot write"):
        put_whole(folder / "a" / "below a file", b"")


def test_what_is_not_there_is_empty(tmp_path):
    assert stored_marks(tmp_path / "no") == {}
    assert stored_folders(tmp_path / "no") == []
    assert stored_text(tmp_path / "no") == ""
    remove_stored(tmp_path / "no")
    put_whole(tmp_path / "a" / "b" / "c", b"")
    assert stored_folders(tmp_path / "a") == ["b"]
    remove_stored(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
