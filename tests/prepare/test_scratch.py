"""Finished pieces: they survive a stop, count for equal inputs alone, and damage is noticed."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from c2seg.errors import OutputError
from c2seg.prepare.scratch import DamagedPieceError, LayerFile, Scratch
from helpers.prepare_make import grid_of

GRID = grid_of(700, 10, 0, 0, 32633)


def pieces(folder, rng):
    file = LayerFile.of(folder, "msi", 3, "int16", GRID, 1)
    made = {
        number: (
            rng.integers(-99, 99, (3, window.height, window.width), dtype=np.int16),
            rng.random((window.height, window.width)) < 0.5,
        )
        for number, window in enumerate(file.windows)
    }
    return file, made


def test_pieces_cover_the_grid_and_do_not_overlap(tmp_path):
    for count, dates in ((1, 1), (10, 1), (60, 1), (10, 4)):
        file = LayerFile.of(tmp_path, "x", count, "int16", grid_of(1500, 10, 0, 0, 32633), dates)
        seen, ends = np.zeros((1500, 1500), int), []
        for window in file.windows:
            seen[window.slices] += 1
            ends.append((file.offset(window), window.height * window.width * (2 * count + 1)))
        assert (seen == 1).all()
        assert all(start + size == later for (start, size), (later, _) in pairwise(ends))


def test_finished_pieces_are_read_back_after_a_stop(tmp_path):
    out, rng = tmp_path / "city", np.random.default_rng(0)
    with Scratch(out, "key") as scratch:
        file, made = pieces(scratch.folder, rng)
        for number, values in made.items():
            scratch.enter("msi", number, file.write(file.windows[number], *values))
    with Scratch(out, "key") as scratch:
        assert {number for _, number in scratch.finished} == set(made)
        for number, (stored, valid) in made.items():
            again = scratch.checked(file, number, file.windows[number])
            assert np.array_equal(again[0], stored)
            assert np.array_equal(again[1], valid)
            assert np.array_equal(scratch.checked_valid(file, number, file.windows[number]), valid)
            assert scratch.finished["msi", number].valid == valid.sum()
    with Scratch(out, "another key") as scratch:
        assert not scratch.finished


def test_damaged_lines_and_pixels_do_not_count(tmp_path):
    out, rng = tmp_path / "city", np.random.default_rng(0)
    with Scratch(out, "key") as scratch:
        file, made = pieces(scratch.folder, rng)
        for number, values in made.items():
            scratch.enter("msi", number, file.write(file.windows[number], *values))
    ledger = scratch.folder / "ledger.jsonl"
    lines = ledger.read_text().splitlines()
    ledger.write_text("\n".join([*lines[:-1], lines[-1].replace("msi", "hsi")]) + '\n["msi", 0, 1')
    with file.path.open("r+b") as stream:
        stream.seek(1000)
        stream.write(b"\xff\xfe")
    with Scratch(out, "key") as scratch:
        assert len(scratch.finished) == len(made) - 1
        with pytest.raises(DamagedPieceError):
            scratch.checked(file, 0, file.windows[0])
        assert ("msi", 0) not in scratch.finished


def test_one_process_works_in_a_folder(tmp_path):
    with (
        Scratch(tmp_path / "city", "key"),
        pytest.raises(OutputError, match="another process"),
        Scratch(tmp_path / "city", "key"),
    ):
        pass
