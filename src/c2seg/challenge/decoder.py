"""``python -m c2seg.challenge.decoder FD``: decodes untrusted submissions, one short-lived process for each.

This process holds no secrets: it sees the archive and the list of expected tiles, never a ground truth. It waits on the socket
FD for jobs (JSON, with the archive and a pipe as passed descriptors), forks for each, and the child gives up memory,
time, files and processes before it touches a byte: with no file descriptor left to open, a reference to another file or
to the network cannot be followed whatever the decoder does. Where the kernel isolates processes (``isolation``), it has neither
network nor files besides. Pixels go back through the pipe as plain frames.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import resource
import signal
import socket
import struct
import sys
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile

from c2seg.challenge.archive import read_tiles
from c2seg.challenge.isolation import Isolation, isolate
from c2seg.challenge.rules import SubmissionError, TileSet, file_name
from c2seg.challenge.tiffhead import check_header

__all__ = ["FRAME", "decode_archive", "serve"]

FRAME = struct.Struct("<cIII")  # kind T(ile) number height width + pixels; E(rror) length + text; D(one)
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, RasterioError, NotImplementedError, EOFError, OSError, ValueError, struct.error,
    OverflowError, MemoryError, RuntimeError, LookupError,
)  # fmt: skip


def decode_archive(stream: Any, tile_set: TileSet) -> Iterator[tuple[int, np.ndarray]]:
    """Yield number and uint8 [H, W] of every tile of a zip. Raises SubmissionError naming the tile and the reason.

    Values are checked: only 0 and the class ids pass. Call it in a confined process only.
    """
    number = None
    try:
        for number, data in read_tiles(stream, tile_set):
            try:
                pixels = _decode(data, *tile_set.sizes[number])
                _check_values(pixels, tile_set.ids)
            except SubmissionError as error:
                raise SubmissionError(f"{file_name(number)}: {error}") from None
            yield number, pixels
    except SubmissionError:
        raise
    except _DAMAGED as error:
        where = "the archive" if number is None else f"the archive at or after {file_name(number)}"
        what = "needs too much memory" if isinstance(error, MemoryError) else f"is damaged ({type(error).__name__})"
        raise SubmissionError(f"{where} {what}") from None


def serve(jobs: socket.socket, granted: Isolation) -> None:
    """Fork a confined child for every job until the socket closes; answer each job with the child's wait status.

    ``granted``: what a trial has shown that the kernel grants. A child that gets less decodes nothing.
    """
    while True:
        header, fds, _, _ = socket.recv_fds(jobs, 4, 2)
        if len(header) < 4 or len(fds) != 2:
            return
        job = json.loads(_receive(jobs, struct.unpack("<I", header)[0]))
        child = os.fork()
        if not child:
            jobs.close()
            _run(job, granted, *fds)
        for descriptor in fds:
            os.close(descriptor)
        jobs.sendall(struct.pack("<i", os.waitpid(child, 0)[1]))


def _decode(data: bytes, height: int, width: int) -> np.ndarray:
    check_header(data, height, width)
    with MemoryFile(data) as memory, memory.open(driver="GTiff", sharing=False) as dataset:
        if (dataset.count, dataset.height, dataset.width, dataset.dtypes[0]) != (1, height, width, "uint8"):
            raise SubmissionError("it is not one band of uint8 of the tile's size")
        pixels: np.ndarray = dataset.read(1)
    return pixels


def _check_values(pixels: np.ndarray, ids: tuple[int, ...]) -> None:
    counts = np.bincount(pixels.ravel(), minlength=256)
    counts[[0, *ids]] = 0
    if counts.any():
        raise SubmissionError(f"it holds the value {counts.argmax()}; allowed are 0 and {list(ids)}")


def _run(job: dict[str, Any], granted: Isolation, archive_fd: int, pipe_fd: int) -> NoReturn:
    """Work on one job in the forked child, and end it."""
    status = 1
    try:
        with os.fdopen(archive_fd, "rb") as archive, os.fdopen(pipe_fd, "wb") as pipe:
            if _confine(job["limits"]) != granted:
                raise PermissionError("the kernel grants less than in the trial")
            try:
                for number, pixels in decode_archive(archive, TileSet.from_dict(job["tile_set"])):
                    pipe.write(FRAME.pack(b"T", number, *pixels.shape))
                    pipe.write(pixels.tobytes())
                pipe.write(FRAME.pack(b"D", 0, 0, 0))
            except SubmissionError as error:
                text = str(error).encode()[:400]
                pipe.write(FRAME.pack(b"E", len(text), 0, 0) + text)
        status = 0
    finally:
        os._exit(status)


def _trial() -> Isolation:
    """Return what the kernel grants a child."""
    child = os.fork()
    if not child:
        number = 0
        try:
            number = isolate().as_number()
        finally:
            os._exit(number)
    return Isolation.from_number(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def _confine(limits: dict[str, Any]) -> Isolation:
    """Give up everything that decoding does not need, and return what the kernel took besides; none of it can be taken back."""
    memory = _mapped_bytes() + limits["memory_mb"] * 2**20
    isolation = isolate()
    signal.setitimer(signal.ITIMER_REAL, limits["wall_s"])  # SIGALRM's default action ends the process
    for kind, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, limits["cpu_s"]),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 0),
    ):
        resource.setrlimit(kind, (value, value))
    return isolation


def _mapped_bytes() -> int:
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:  # no Linux; such systems do not enforce RLIMIT_AS strictly
        return 4 * 2**30


def _receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise EOFError("the job ended early")
        data += part
    return data


def _warm_up() -> None:
    """Decode a harmless submission, so that no library needs to open or import anything once confined."""
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", height=2, width=2, count=1, dtype="uint8", compress="deflate") as dataset:
            dataset.write(np.ones((1, 2, 2), np.uint8))
        tile = memory.read()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(file_name(0), tile)
    for _ in decode_archive(stream, TileSet({0: (2, 2)}, (1,))):
        pass
    with contextlib.suppress(SubmissionError):  # loads what errors need
        list(decode_archive(io.BytesIO(stream.getvalue()[:-1]), TileSet({0: (2, 2)}, (1,))))


if __name__ == "__main__":
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    with rasterio.Env():
        _warm_up()
        gc.collect()
        gc.freeze()  # child processes need not copy what they never free
        with socket.socket(fileno=int(sys.argv[1])) as jobs:
            granted = _trial()
            jobs.sendall(struct.pack("<i", granted.as_number()))  # ready
            serve(jobs, granted)
