"""The pieces of all layers computed, here or by any worker; the calling process alone stores them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import rasterio
from threadpoolctl import threadpool_limits

from c2seg.checksums import checksum
from c2seg.parallel import Crew, Storing, run_tasks
from c2seg.prepare.layer import ImageLayer
from c2seg.prepare.scratch import LayerFile, Piece, Scratch
from c2seg.progress import Progress
from c2seg.types import Window

__all__ = ["Job", "compute"]

_CACHE_BYTES = 256 << 20
"""Decoded blocks of native files: a row of JPEG 2000 tiles in all bands of a Sentinel-2 tile, so that none is decoded twice."""
_CHECK_PX = 64

PieceKey = tuple[int, int]
"""A piece: the number of its layer, and its own in the layer."""


@dataclass(frozen=True)
class Job:
    """A layer and where its pieces go."""

    layer: ImageLayer
    file: LayerFile


@dataclass(frozen=True)
class _Pixels:
    """A computed piece: stored numbers [C, H, W] and validity bool [H, W]."""

    key: PieceKey
    stored: np.ndarray
    valid: np.ndarray


class _PieceFunction:
    """Computes pieces of layers."""

    def __init__(self, layers: Sequence[tuple[ImageLayer, Sequence[Window]]]) -> None:
        self._layers = layers

    def __call__(self, key: PieceKey) -> _Pixels:
        """Compute a piece."""
        layer, windows = self._layers[key[0]]
        return _Pixels(key, *layer.read(windows[key[1]]))

    def check(self) -> int:
        """Return a checksum of some pixels in the middle of each layer."""
        total = 0
        for layer, _ in self._layers:
            height, width = layer.grid.height, layer.grid.width
            size = min(height, _CHECK_PX), min(width, _CHECK_PX)
            stored, valid = layer.read(Window((height - size[0]) // 2, (width - size[1]) // 2, *size))
            total = checksum(np.ascontiguousarray(valid), checksum(np.ascontiguousarray(stored), total))
        return total


@dataclass(frozen=True)
class _PieceJob:
    """The pieces of all layers as a job of other processes. Picklable."""

    layers: tuple[tuple[ImageLayer, tuple[Window, ...]], ...]

    @contextmanager
    def start(self) -> Iterator[Callable[[PieceKey], _Pixels]]:
        """Return a function of pieces."""
        with _cached(), threadpool_limits(1):  # small matrix products: other threads would only spin
            yield _PieceFunction(self.layers)


def compute(jobs: Sequence[Job], scratch: Scratch, crew: Crew | None, progress: Progress) -> None:
    """Compute the pieces that are missing. Raises DataError for damaged inputs; finished pieces stay on disk."""
    total = sum(job.file.height * job.file.width * job.file.count for job in jobs)
    layers = tuple((job.layer, tuple(job.file.windows)) for job in jobs)
    sizes = {
        (index, number): window.height * window.width * jobs[index].file.count
        for index, (_, windows) in enumerate(layers)
        for number, window in enumerate(windows)
    }
    tasks = [key for key in sizes if (jobs[key[0]].file.name, key[1]) not in scratch.finished]
    done = float(sum(sizes.values()) - sum(sizes[key] for key in tasks))
    progress(done, total, "resumed" if done else "")

    def store(pixels: _Pixels) -> Piece:
        index, number = pixels.key
        return jobs[index].file.write(layers[index][1][number], pixels.stored, pixels.valid)

    def enter(pixels: _Pixels, piece: Piece) -> None:
        nonlocal done
        name = jobs[pixels.key[0]].file.name
        scratch.enter(name, pixels.key[1], piece)
        done += sizes[pixels.key]
        progress(done, total, name)

    function = _PieceFunction(layers)
    with Storing(store, enter) as storing:
        if crew is None or len(tasks) < 2:
            with _cached():
                for key in tasks:
                    storing.put(function(key))
        else:
            run_tasks(
                crew, _PieceJob(layers), tasks, lambda _, pixels, worker: storing.put(pixels), check=function.check
            )  # fmt: skip


def _cached() -> rasterio.Env:
    return rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES)
