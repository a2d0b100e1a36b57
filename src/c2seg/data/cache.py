"""Fast pixels for training: a city in memory if it fits a budget, else a memory-mapped copy.

The copy contains every raster on its native grid with its raw data type. All bands of a pixel are contiguous, so each row of
a patch is one read. The folder is named after the city's fingerprint. The copy is built strip by strip and resumes after an
interruption. Processes that need the same copy wait for each other.

Each strip has a checksum. All strips are checked whenever a copy is opened, in threads: that reads the copy once, as training
does many times, and several times faster than the files themselves are decoded. So a damaged strip can be copied again at
once. Checks at the first read of a strip would find damage in the middle of a training, where the files are closed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from c2seg.checksums import checksum
from c2seg.data.city import City, LabeledCity, blocks
from c2seg.data.memory import (
    CachedRaster,
    city_bytes,
    in_memory,
    layer_in_memory,
    memory_mapped,
    replace_sources,
    source_bytes,
)
from c2seg.errors import DataError, OutputError
from c2seg.outputs import fsync_path
from c2seg.progress import Progress, no_progress
from c2seg.raster import RasterSource
from c2seg.records import Artifact
from c2seg.types import Window

__all__ = ["cached", "cached_labels"]

_STRIP_PX = 512


def cached(city: City, cache_dir: Path | None, budget_bytes: int, progress: Progress = no_progress) -> City:
    """Return the city with images in memory if they take at most ``budget_bytes``, else memory-mapped from a cache.

    A missing cache is built in ``cache_dir``. Without ``cache_dir`` the city is returned unchanged. Values, validity and
    fingerprint do not change. Raises OutputError if the folder is not writable or the disk is too small, DataError if the
    city is unreadable.
    """
    size = city_bytes(city)
    if size <= budget_bytes:
        return in_memory(city, budget_bytes)
    if cache_dir is None:
        return city
    folder = cache_dir / f"{_plain(city.name)}-{city.fingerprint()}"
    with _locked(folder):
        build = _Build(folder, size, progress)
        build.check_disk_space(city)
        return replace_sources(city, build.layer)


def cached_labels(
    city: LabeledCity, cache_dir: Path | None, budget_bytes: int, progress: Progress = no_progress
) -> LabeledCity:
    """Return the labeled city with images as in ``cached``, and labels in memory if the rest of the budget suffices."""
    images = cached(city.images, cache_dir, budget_bytes, progress)
    rest_bytes = budget_bytes - (city_bytes(city.images) if city_bytes(city.images) <= budget_bytes else 0)
    labels = city.labels
    if sum(source_bytes(label.source) for label in labels) <= rest_bytes:
        labels = tuple(replace(label, source=layer_in_memory(label.source)) for label in labels)
    return replace(city, images=images, labels=labels)


class _locked:
    """Creates and locks a folder. A second process waits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = (self.folder / "lock").open("w")
        except OSError as error:
            raise OutputError(f"cannot write the cache {self.folder}: {error.strerror}") from error
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._file.close()


@dataclass
class _Build:
    """Builds the missing files of a cache and counts bytes for the progress."""

    folder: Path
    total: int
    progress: Progress
    done: int = 0

    def check_disk_space(self, city: City) -> None:
        """Raise OutputError if the missing files do not fit on the disk."""
        present = sum(file.stat().st_blocks * 512 for file in self.folder.glob("*.bin"))
        free = shutil.disk_usage(self.folder).free
        if self.total - present > free:
            raise OutputError(
                f"the cache of {city.name!r} in {self.folder.parent} needs {(self.total - present) / 2**30:.1f} GiB, "
                f"{free / 2**30:.1f} GiB are free; give another folder (`cache`)"
            )

    def layer(self, scene: int, name: str, source: RasterSource) -> CachedRaster:
        """Return the memory-mapped copy of a source. What is missing or damaged is copied first."""
        file = self.folder / f"{scene}-{_plain(name)}.bin"
        shape = (source.count, source.height, source.width)
        strips = [(row, min(row + _STRIP_PX, source.height)) for row in range(0, source.height, _STRIP_PX)]
        sums = _stored_sums(file, source_bytes(source))
        whole = _whole_strips(file, source, strips, sums)
        self.done += (
            sum((strips[index][1] - strips[index][0]) for index in whole) * source_bytes(source) // source.height
        )
        if missing := [index for index in range(len(strips)) if index not in whole]:
            try:
                self._fill(file, source, [strips[index] for index in missing], {index: sums[index] for index in whole})
            except OSError as error:
                if error.filename is None and error.errno is None:
                    raise
                raise OutputError(f"cannot write the cache {file}: {error.strerror}") from error
        return memory_mapped(file, shape, source.dtype, source.nodata, source.fingerprint())

    def _fill(self, file: Path, source: RasterSource, missing: Sequence[tuple[int, int]], sums: dict[int, int]) -> None:
        """Copy strips; ``sums`` are the checksums of the others."""
        size = f"{self.total / 2**30:.2f} GiB"
        _make_room(file, source_bytes(source))
        array = np.memmap(file, source.dtype, "r+", shape=(source.height, source.width, source.count))
        for first, last in missing:
            for window in blocks(Window(first, 0, last - first, source.width), _STRIP_PX):
                values = source.read(window)
                row, col = window.slices
                array[row, col] = values.transpose(1, 2, 0)
                self.done += values.nbytes
                self.progress(self.done, self.total, size)
            array.flush()
            fsync_path(file)
            sums[first // _STRIP_PX] = checksum(array[first:last])
            CacheProgress(checksums=sums, bytes=source_bytes(source)).write(file.with_suffix(".json"))


class CacheProgress(Artifact):
    """The checksums of a cached raster's finished strips, by their number from the top, and its total size in bytes."""

    artifact: Literal["cache"] = "cache"
    checksums: dict[int, int] = Field(default_factory=dict)
    bytes: int


def _stored_sums(file: Path, size: int) -> dict[int, int]:
    """Return the noted checksums of the strips of a raster of so many bytes; none if its note is damaged."""
    try:
        note = CacheProgress.read(file.with_suffix(".json"))
        return note.checksums if file.stat().st_size == size == note.bytes else {}
    except (OSError, DataError):
        return {}


def _whole_strips(
    file: Path, source: RasterSource, strips: Sequence[tuple[int, int]], sums: Mapping[int, int]
) -> set[int]:
    """Return the strips whose pixels are those that were written."""
    present = [index for index in range(len(strips)) if index in sums]
    if not present:
        return set()
    array = np.memmap(file, source.dtype, "r", shape=(source.height, source.width, source.count))
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda index: checksum(array[slice(*strips[index])]) == sums[index], present)
        return {index for index, whole in zip(present, found, strict=True) if whole}


def _make_room(file: Path, size: int) -> None:
    """Give a file its size; a full disk fails here, not as SIGBUS later. What another process has mapped stays in place."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        os.ftruncate(descriptor, size)
        os.posix_fallocate(descriptor, 0, size)
    finally:
        os.close(descriptor)


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name) or "city"
