from __future__ import annotations

import json
import pickle
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from c2seg.data import LabeledCity, cached, cached_labels, open_city, write_folder
from c2seg.data.cache import _STRIP_PX
from c2seg.data.city import City
from c2seg.data.memory import city_bytes, in_memory
from c2seg.errors import DataError, InputError, OutputError
from c2seg.raster import ArrayRaster
from c2seg.types import Window
from helpers.damage import DAMAGES, damage
from helpers.toy_cities import make_city

WINDOWS = [Window(-5, -5, 60, 40), Window(77, 31, 64, 64), Window(0, 0, 150, 130)]


def same(a: City, b: City) -> bool:
    pairs = [
        (a.scenes[0].read(name, window), b.scenes[0].read(name, window))
        for name in a.scenes[0].modalities
        for window in WINDOWS
    ]
    return all(np.array_equal(x[1], y[1]) and np.array_equal(x[0], y[0]) for x, y in pairs)


def test_a_city_that_fits_is_kept_in_memory(toy: LabeledCity, tmp_path: Path) -> None:
    write_folder(toy, tmp_path / "city")
    city = open_city(tmp_path / "city")
    kept = cached(city, tmp_path / "cache", city_bytes(city))
    assert same(city, kept)
    assert kept.fingerprint() == city.fingerprint()
    assert not (tmp_path / "cache").exists()
    with pytest.raises(InputError, match="GiB in memory, more than"):
        in_memory(city, city_bytes(city) - 1)


def test_a_larger_city_is_memory_mapped_once(toy: LabeledCity, tmp_path: Path) -> None:
    write_folder(toy, tmp_path / "city")
    city = open_city(tmp_path / "city")
    calls: list[tuple[float, float]] = []
    first = cached(city, tmp_path / "cache", 1000, lambda done, total, text="": calls.append((done, total)))
    assert calls[-1] == (city_bytes(city), city_bytes(city))
    assert same(city, first)
    assert first.fingerprint() == city.fingerprint()
    stack = first.scenes[0].modality("hsi")
    assert (stack.source.dtype, stack.source.height) == (np.uint16, 50)  # native grid and type
    assert sum(file.stat().st_size for file in (tmp_path / "cache").rglob("*.bin")) == city_bytes(city)
    calls.clear()
    again = cached(city, tmp_path / "cache", 1000, lambda done, total, text="": calls.append((done, total)))
    assert calls == []  # nothing to build
    assert same(again, first)
    assert same(pickle.loads(pickle.dumps(first)), city)
    assert len(pickle.dumps(first)) < 20_000


def test_without_a_folder_a_large_city_stays_on_its_files(toy: LabeledCity) -> None:
    assert cached(toy.images, None, 1000) is toy.images


def test_changed_pixels_get_another_cache(toy: LabeledCity, tmp_path: Path) -> None:
    cached(toy.images, tmp_path, 1000)
    scene = toy.images.scenes[0]
    array = scene.modality("sar").source.read(scene.grid.window).copy()
    array[0] += 1
    sar = replace(scene.modality("sar"), source=ArrayRaster(array))
    other = replace(toy.images, scenes=(replace(scene, modalities={**scene.modalities, "sar": sar}),))
    assert same(cached(other, tmp_path, 1000), other)
    assert len([folder for folder in tmp_path.iterdir() if folder.is_dir()]) == 2


@dataclass(frozen=True)
class Faulty(ArrayRaster):
    """Fails at the given row until ``broken`` is emptied; counts the rows read."""

    broken: tuple[int, ...] = ()
    rows: Any = None

    def read(self, window: Window) -> np.ndarray:
        if any(window.row <= row < window.row_end for row in self.rows["broken"]):
            raise DataError("a block is damaged")
        self.rows["read"].append(window.row)
        return super().read(window)


def test_an_interrupted_build_goes_on_where_it_stopped(tmp_path: Path) -> None:
    city = make_city(3 * _STRIP_PX, 40).images
    scene = city.scenes[0]
    rows: dict[str, list[int]] = {"broken": [2 * _STRIP_PX + 7], "read": []}
    source = Faulty(scene.modality("msi").source.read(scene.grid.window), rows=rows)
    msi = replace(scene.modality("msi"), source=source)
    city = replace(city, scenes=(replace(scene, modalities={"msi": msi}, valid=None),))
    with pytest.raises(DataError):
        cached(city, tmp_path, 1000)
    assert sorted(set(rows["read"])) == [0, _STRIP_PX]
    rows["broken"].clear()
    rows["read"].clear()
    kept = cached(city, tmp_path, 1000)
    assert sorted(set(rows["read"])) == [2 * _STRIP_PX]
    assert same(kept, city)


BUILD = """
import sys
from pathlib import Path
from c2seg.data import cached, open_city
city = open_city(Path(sys.argv[1]))
print("start", flush=True)
cached(city, Path(sys.argv[2]), 1000, lambda done, total, text="": print("block", flush=True) or sys.stdin.readline())
"""


def test_kill_while_building_leaves_no_wrong_pixels(tmp_path: Path) -> None:
    write_folder(make_city(2 * _STRIP_PX + 100, 600), tmp_path / "city")
    command = [sys.executable, "-c", BUILD, str(tmp_path / "city"), str(tmp_path / "cache")]
    for blocks in (0, 1, 4):  # each killed while it goes on behind that many blocks more than it was made to wait at
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdin is not None
            assert child.stdout.readline() == "start\n"
            for _ in range(blocks):
                assert child.stdout.readline() == "block\n"
                child.stdin.write("\n")
                child.stdin.flush()
            child.send_signal(signal.SIGKILL)
    city = open_city(tmp_path / "city")
    assert same(cached(city, tmp_path / "cache", 1000), city)


def test_a_damaged_note_rebuilds(toy: LabeledCity, tmp_path: Path) -> None:
    cached(toy.images, tmp_path, 1000)
    notes = sorted(tmp_path.rglob("*.json"))
    notes[0].write_text("{")
    notes[1].write_text(json.dumps({"rows": 5, "bytes": 1}))
    assert same(cached(toy.images, tmp_path, 1000), toy.images)


def test_a_folder_that_cannot_be_written(toy: LabeledCity, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write the cache"):
        cached(toy.images, tmp_path / "file", 1000)


def test_too_small_a_disk_is_said_before_building(
    toy: LabeledCity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10})())
    with pytest.raises(OutputError, match=r"needs .* GiB, 0\.0 GiB are free"):
        cached(toy.images, tmp_path, 1000)
    assert list(tmp_path.rglob("*.bin")) == []


def test_labels_are_kept_when_there_is_room(toy: LabeledCity, tmp_path: Path) -> None:
    small = cached_labels(toy, tmp_path, 1000)
    assert small.labels[0] is toy.labels[0]
    large = cached_labels(toy, tmp_path, 10**9)
    assert large.labels[0] is not toy.labels[0]
    for city in (small, large):
        assert city.label_fingerprint() == toy.label_fingerprint()
        assert all(np.array_equal(city.read_label(0, w), toy.read_label(0, w)) for w in WINDOWS)


def strips_of(folder: Path, city: City) -> tuple[City, list[int]]:
    """Return a cached city of one raster, and the first rows of the strips that had to be copied."""
    scene = city.scenes[0]
    rows: dict[str, list[int]] = {"broken": [], "read": []}
    source = Faulty(scene.modality("msi").source.read(scene.grid.window), rows=rows)
    msi = replace(scene.modality("msi"), source=source)
    kept = cached(replace(city, scenes=(replace(scene, modalities={"msi": msi}, valid=None),)), folder, 1000)
    return kept, sorted(set(rows["read"]))


def pixels(city: City) -> np.ndarray:
    return np.asarray(city.scenes[0].modality("msi").source.read(city.scenes[0].grid.window))


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("suffix", ["bin", "json"])
def test_a_damaged_cache_gives_the_pixels_of_the_files(tmp_path: Path, kind: str, suffix: str) -> None:
    city = make_city(2 * _STRIP_PX + 100, 40).images
    whole, copied = strips_of(tmp_path, city)
    expected = pixels(whole).copy()
    assert copied == [0, _STRIP_PX, 2 * _STRIP_PX]
    [path] = tmp_path.rglob(f"*.{suffix}")
    del whole
    for seed in range(3):
        damage(path, kind, np.random.default_rng(seed))
        assert np.array_equal(pixels(strips_of(tmp_path, city)[0]), expected)
    assert strips_of(tmp_path, city)[1] == []  # and is whole again


def test_a_flipped_bit_costs_one_strip(tmp_path: Path) -> None:
    city = make_city(2 * _STRIP_PX + 100, 40).images
    strips_of(tmp_path, city)
    [path] = tmp_path.rglob("*.bin")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 64
    path.write_bytes(data)
    assert strips_of(tmp_path, city)[1] == [_STRIP_PX]
