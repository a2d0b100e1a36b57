"""Entries as Codabench unpacks them."""

import os
import shutil
import zipfile

import pytest

from c2seg.challenge import Board, SubmissionError
from c2seg.challenge.codabench.archives import entry_archives
from c2seg.cli import run


@pytest.fixture
def unpacked_entry(season, tmp_path):
    folder = tmp_path / "res"
    with zipfile.ZipFile(season / "entry.zip") as archive:
        archive.extractall(folder)
    (folder / "metadata").write_text("exitCode: 0\n")
    return folder


@pytest.fixture
def tile_sets(season):
    board = Board(season / "board.sqlite")
    return {name: board.tile_set(name) for name in board.datasets}


def test_archives_folders_and_bare_tiles_are_one(unpacked_entry, tile_sets, season, tmp_path, decoder):
    found = entry_archives(unpacked_entry, tile_sets, tmp_path)
    assert found == {"AB": unpacked_entry / "AB.zip", "B W": unpacked_entry / "B W.zip"}
    shutil.unpack_archive(unpacked_entry / "AB.zip", unpacked_entry / "AB")
    (unpacked_entry / "AB.zip").unlink()
    board = Board(season / "board.sqlite")
    mixed = entry_archives(unpacked_entry, tile_sets, tmp_path)
    assert board.count_all(mixed, decoder)["AB"] == board.count_all(found | {"AB": season / "AB.zip"}, decoder)["AB"]
    bare = entry_archives(unpacked_entry / "AB", {"AB": tile_sets["AB"]}, tmp_path)
    assert board.count("AB", bare["AB"], decoder) == board.count("AB", season / "AB.zip", decoder)


def test_what_is_no_entry(unpacked_entry, tile_sets, tmp_path):
    def refused(words):
        with pytest.raises(SubmissionError, match=words) as caught:
            entry_archives(unpacked_entry, tile_sets, tmp_path)
        assert str(tmp_path) not in str(caught.value)

    (unpacked_entry / "more.txt").write_text("x")
    refused("'more.txt', which is of no data set")
    (unpacked_entry / "more.txt").unlink()
    (unpacked_entry / "AB").mkdir()
    refused(r"has both AB\.zip and a folder AB")
    (unpacked_entry / "AB.zip").unlink()
    refused("AB: 0 files; 9 tiles are expected")
    (unpacked_entry / "AB").rmdir()
    refused(r"lacks AB\.zip or a folder AB")
    os.symlink("/etc/passwd", unpacked_entry / "AB.zip")
    refused("'AB.zip' is a link or a special file")
    (unpacked_entry / "AB.zip").unlink()
    (unpacked_entry / "AB").mkdir()
    for number in range(9):
        os.symlink("/etc/passwd", unpacked_entry / f"AB/{number}_prediction.tif")
    refused("is a link or a special file")


def test_joining_on_the_command_line(season, tmp_path, capsys):
    out = tmp_path / "entry.zip"
    words = [f"{name}={season / name}.zip" for name in ("AB", "B W")]
    assert run(["submit", "join", str(out), *words]) == 0
    assert out.read_bytes() == (season / "entry.zip").read_bytes()
    assert run(["submit", "join", str(out), *words]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run(["submit", "join", str(tmp_path / "x.zip"), f"AB={season / 'AB' / 'msi.tif'}"]) == 2
    assert "is no zip file" in capsys.readouterr().err
    assert not (tmp_path / "x.zip").exists()
