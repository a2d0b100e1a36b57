"""Mutated submissions: each is refused or scored; none crashes, hangs or ends the decoder."""

import random
import struct
from collections import Counter

import numpy as np
import pytest

from c2seg.challenge import Decoder, SubmissionError, check_submission
from helpers.submission_makers import pack, tiff

NAME = "1_prediction.tif"


def flip_bits(rng, data):
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 8, 64])):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def truncate(rng, data):
    return data[: rng.randrange(len(data))]


def splice(rng, data):
    a, b = sorted(rng.sample(range(len(data)), 2))
    piece = rng.choice([b"", bytes(b - a), data[a:b] * 2, rng.randbytes(b - a)])
    return data[:a] + piece + data[b:]


def damage_directory(rng, data):
    """Overwrite a field of the TIFF directory by a value that programs tend to get wrong."""
    out = bytearray(data)
    (start,) = struct.unpack_from("<I", out, 4)
    (number,) = struct.unpack_from("<H", out, start)
    value = rng.choice([0, 1, 2, 3, 8, 255, 65535, 2**31 - 1, 2**31, 2**32 - 1, len(data), start, rng.getrandbits(32)])
    entry = start + 2 + 12 * rng.randrange(number)
    place, kind = rng.choice([(0, "H"), (2, "H"), (4, "I"), (8, "I"), (8, "I"), (8, "H")])
    struct.pack_into("<" + kind, out, entry + place, value & (0xFFFF if kind == "H" else 0xFFFFFFFF))
    return bytes(out)


def other_raster(rng, _):
    shape = rng.choice([(32, 32), (1, 1), (32, 31), (2000, 2000), (3, 32, 32), (32, 32)])
    dtype = rng.choice(["uint8", "int16", "float32", "uint8"])
    array = np.full(shape, rng.randrange(20)).astype(dtype)
    options = rng.choice(
        [{}, {"compress": "lzma"}, {"tiled": True, "blockxsize": 16, "blockysize": 16}, {"BIGTIFF": "YES"}]
    )
    return tiff(array, **options)


def bomb(rng, data):
    return rng.choice([bytes(30_000_000), data + bytes(5_000_000), b"II*\0" + b"\xff" * 1_000_000])


TIFF_MUTATIONS = (flip_bits, truncate, splice, damage_directory, damage_directory, other_raster)
ARCHIVE_MUTATIONS = (flip_bits, flip_bits, truncate, splice)


def mutant(seed, files):
    """Return the kind of mutation and the archive of a seed."""
    rng = random.Random(seed)
    if seed % 50 == 0:
        return "bomb", pack({**files, NAME: bomb(rng, files[NAME])})
    if rng.random() < 0.35:
        change = rng.choice(ARCHIVE_MUTATIONS)
        return f"archive {change.__name__}", change(rng, pack(files))
    change = rng.choice(TIFF_MUTATIONS)
    layout = rng.choice([{}, {"compress": "lzw", "predictor": 2}, {"compress": "packbits"}, {"compress": None},
                         {"compress": "zstd"}, {"tiled": True, "blockxsize": 16, "blockysize": 16}])  # fmt: skip
    array = np.random.default_rng(seed).integers(0, 14, (32, 32), dtype=np.uint8)
    return f"tile {change.__name__}", pack({**files, NAME: change(rng, tiff(array, **layout))})


def hunt(seeds, tmp_path, tile_set, files):
    path = tmp_path / "mutant.zip"
    outcomes = Counter()
    with Decoder() as decoder:
        decoder._start()
        process = decoder._process
        for seed in seeds:
            kind, data = mutant(seed, files)
            path.write_bytes(data)
            answer = ""
            try:
                check_submission(path, tile_set, decoder)
            except SubmissionError as error:
                answer = str(error)
            assert answer.isprintable()
            assert str(tmp_path) not in answer
            outcomes[kind, "refused" if answer else "scored"] += 1
        assert decoder._process is process  # one decoder served them all: none hung until its time was up
        assert process.poll() is None
    return outcomes


def test_mutants(tmp_path, tile_set, files):
    outcomes = hunt(range(120), tmp_path, tile_set, files)
    assert outcomes.total() == 120
    scored = sum(n for (_, end), n in outcomes.items() if end == "scored")
    assert 2 < scored < 60  # both ends occur: harmless mutants pass, harmful ones do not
    assert all(end == "refused" for kind, end in outcomes if kind == "bomb")


@pytest.mark.slow
def test_thousands_of_mutants(tmp_path, tile_set, files):
    outcomes = hunt(range(120, 5120), tmp_path, tile_set, files)
    assert outcomes.total() == 5000
