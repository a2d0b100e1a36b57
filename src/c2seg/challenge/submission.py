"""Pack a submission, and read one back through the confined decoder."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from c2seg.challenge.isolation import Isolation
from c2seg.challenge.rules import (
    Limits,
    SubmissionError,
    TileSet,
    file_name,
    numbered_tiles,
    tile_windows,
)
from c2seg.data.tiling import Order
from c2seg.errors import DataError, InputError, OutputError
from c2seg.legend import BACKGROUND, Legend
from c2seg.outputs import Output, check_outputs, commit
from c2seg.pipeline.few_shot import map_record
from c2seg.progress import Progress, no_progress
from c2seg.raster import RasterFile
from c2seg.types import Grid, Window

__all__ = ["CheckedSubmission", "Decoder", "check_submission", "pack_submission", "write_tile"]

_log = logging.getLogger(__name__)
_FRAME = struct.Struct("<cIII")  # as in decoder, which this process does not import
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "GDAL_NUM_THREADS": "1",
    "GDAL_CACHEMAX": "64",
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_GEOREF_SOURCES": "NONE",
    "GDAL_SKIP": "VRT HTTP WMS WMTS WCS DERIVED GTI STACTA STACIT PLMOSAIC",
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": "none",
    "PROJ_NETWORK": "OFF",
}


class Decoder:
    """A waiting process that decodes submissions, each in a confined child of its own; use as a context manager.

    It starts on first use (half a second) and starts again if it has to be killed. Not for several threads at once.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self.isolation: Isolation | None = None
        """What the kernel takes from the processes that decode; None before the first use."""
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def __enter__(self) -> Decoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process and whatever it started."""
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = self._socket = None

    def tiles(self, archive: Path, tile_set: TileSet) -> Iterator[tuple[int, np.ndarray]]:
        """Yield number and uint8 [H, W] of every tile of the test set, in its order.

        The submission is valid only once the iterator is exhausted: until then SubmissionError may follow.
        """
        with _open(archive) as stream:
            jobs = self._start()
            deadline = time.monotonic() + self._limits.wall_s + 10
            receive, send = os.pipe()
            try:
                content = {
                    "tile_set": tile_set.as_dict(),
                    "limits": {n: getattr(self._limits, n) for n in ("memory_mb", "cpu_s", "wall_s")},
                }
                job = json.dumps(content).encode()
                socket.send_fds(jobs, [struct.pack("<I", len(job))], [stream.fileno(), send])
                jobs.sendall(job)
            except BaseException:
                os.close(receive)
                raise
            finally:
                os.close(send)
        try:
            yield from self._frames(receive, tile_set, deadline)
        except TimeoutError:
            self.close()
            raise SubmissionError("decoding took too long") from None
        finally:
            os.close(receive)
            self._finish(deadline)

    def _frames(self, pipe: int, tile_set: TileSet, deadline: float) -> Iterator[tuple[int, np.ndarray]]:
        """Read the child's answer without trusting it: every frame must be the one that is expected."""
        due = list(tile_set.sizes.items())[::-1]
        while True:
            header = _exactly(pipe, _FRAME.size, deadline)
            if header is None:
                break
            kind, *values = _FRAME.unpack(header)
            if kind == b"E":
                text = _exactly(pipe, min(values[0], 400), deadline) or b""
                raise SubmissionError("".join(c for c in text.decode("ascii", "replace") if c.isprintable()))
            if kind == b"D" and not due:
                return
            if kind != b"T" or not due or (due[-1][0], *due[-1][1]) != tuple(values):
                break
            number, size = due.pop()
            pixels = _exactly(pipe, size[0] * size[1], deadline)
            if pixels is None:
                break
            yield number, np.frombuffer(pixels, np.uint8).reshape(size)
        raise SubmissionError("the archive could not be decoded within the limits of memory, time and files")

    def _start(self) -> socket.socket:
        if self._socket is not None and self._process is not None and self._process.poll() is None:
            return self._socket
        self.close()
        ours, theirs = socket.socketpair()
        inherited = {
            k: v for k, v in os.environ.items() if k in ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "SYSTEMROOT")
        }
        paths = os.pathsep.join(str(Path(p).resolve()) for p in sys.path if p)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "c2seg.challenge.decoder", str(theirs.fileno())],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, env={**inherited, **_ENVIRONMENT, "PYTHONPATH": paths}, cwd="/",
                start_new_session=True,
            )  # fmt: skip
        self._socket = ours
        ours.settimeout(60)
        ready = ours.recv(4, socket.MSG_WAITALL)
        if len(ready) != 4:
            self.close()
            raise RuntimeError(f"the decoder of submissions does not start with {sys.executable}")
        ours.settimeout(None)
        self._note(Isolation.from_number(*struct.unpack("<i", ready)))
        return ours

    def _note(self, isolation: Isolation) -> None:
        """Remember what the kernel grants, and log what it does not."""
        if isolation != self.isolation and isolation.missing:
            _log.warning("submissions are decoded with %s: this system grants none", " and ".join(isolation.missing))
        self.isolation = isolation

    def _finish(self, deadline: float) -> None:
        """Read the child's exit status from the socket, so that the next job can start; else close the process."""
        if self._socket is None:
            return
        self._socket.settimeout(max(0.1, deadline - time.monotonic()))
        try:
            alive = len(self._socket.recv(4, socket.MSG_WAITALL)) == 4
        except OSError:
            alive = False
        if alive:
            self._socket.settimeout(None)
        else:
            self.close()


@dataclass(frozen=True, slots=True)
class CheckedSubmission:
    """What a valid submission holds: tiles, pixels by class id (0: none predicted), and the archive's SHA-256.

    ``summary`` is the number and size of the tiles in words, ``isolation`` what the kernel took from the process that decoded.
    """

    tiles: int
    summary: str
    class_pixels: dict[int, int]
    sha256: str
    isolation: Isolation | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        pixels = {str(i): n for i, n in self.class_pixels.items()}
        return {
            "ok": True, "tiles": self.tiles, "class_pixels": pixels, "sha256": self.sha256,
            "isolation": self.isolation and self.isolation.as_dict(),
        }  # fmt: skip


def check_submission(archive: Path, tile_set: TileSet, decoder: Decoder) -> CheckedSubmission:
    """Check a submission as the organizer will. Raises SubmissionError with the first rule that it breaks."""
    counts = np.zeros(256, np.int64)
    try:
        for _, pixels in decoder.tiles(archive, tile_set):
            counts += np.bincount(pixels.ravel(), minlength=256)
    except SubmissionError as error:
        raise SubmissionError(f"{archive.name}: {error}") from None
    used = {i: int(counts[i]) for i in (BACKGROUND, *tile_set.ids)}
    return CheckedSubmission(len(tile_set.sizes), tile_set.summary, used, file_sha256(archive), decoder.isolation)


def file_sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with _open(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def pack_submission(
    source: Path,
    out: Path,
    legend: Legend,
    *,
    tile_px: int = 128,
    order: Order = "columns",
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> TileSet:
    """Write the zip of ``N_prediction.tif`` from a map, cut by ``tile_windows``, or from a folder of numbered tiles.

    Tiles are uint8, 0 = nodata, with the legend's colors and the georeference of the source; equal maps give equal
    bytes. Returns the tiles packed. Raises DataError for values that are no class ids (a declared nodata becomes 0).
    """
    output = Output(out, suffixes=(".zip",))
    check_outputs([output], [source], overwrite=overwrite)
    for path in numbered_tiles(source).values() if source.is_dir() else (source,):
        _refuse_few_shot(path)
    if source.is_dir():
        jobs = [(n, raster := RasterFile(path), raster.grid.window) for n, path in numbered_tiles(source).items()]
    else:
        raster = RasterFile(source)
        jobs = [(n, raster, w) for n, w in enumerate(tile_windows(raster.height, raster.width, tile_px, order))]
    tile_set = TileSet({n: (w.height, w.width) for n, _, w in jobs}, legend.ids)
    with commit(overwrite=overwrite) as files, _written_zip(files.add(output)) as archive:
        for done, (number, tile_source, window) in enumerate(jobs):
            ids = _ids(tile_source, window, legend)
            write_tile(archive, number, ids, legend, tile_source.grid.crop(window))
            progress(done + 1, len(jobs))
            if source.is_dir():
                tile_source.close()
    return tile_set


def write_tile(
    archive: zipfile.ZipFile, number: int, ids: np.ndarray, legend: Legend, grid: Grid | None = None
) -> None:
    """Put a tile of class ids, uint8 [H, W], into an archive; equal tiles give equal bytes. ``grid``: its georeference."""
    entry = zipfile.ZipInfo(file_name(number), (1980, 1, 1, 0, 0, 0))
    entry.external_attr = 0o100644 << 16
    archive.writestr(entry, _encode(ids, legend, grid))


def _refuse_few_shot(path: Path) -> None:
    """Raise InputError for a map whose record says that its model was trained on labels of a target."""
    record = map_record(path)
    if record is not None and record.few_shot:
        raise InputError(
            f"{path} is few-shot: its model was trained on labels of the target; the leaderboard ranks maps made without any"
        )


@contextlib.contextmanager
def _written_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Yield a new archive; it is read back when it is closed."""
    with zipfile.ZipFile(path, "w") as archive:
        yield archive
    with zipfile.ZipFile(path) as archive:
        if archive.testzip() is not None:
            raise OutputError(f"cannot write {path}: what was written reads back differently; make room and run again")


def _ids(source: RasterFile, window: Window, legend: Legend) -> np.ndarray:
    if source.count != 1:
        raise DataError(f"{source.path} has {source.count} bands; a map of classes has one")
    values = source.read(window)[0]
    if source.nodata is not None and source.nodata not in legend.ids:
        values = np.where(values == source.nodata, values.dtype.type(BACKGROUND), values)
    present = np.unique(values)
    wrong = present[~np.isin(present, [BACKGROUND, *legend.ids])]
    if wrong.size:
        raise DataError(f"{source.path} holds the value {wrong[0]}; a submission holds 0 and {list(legend.ids)} only")
    ids: np.ndarray = values.astype(np.uint8)
    return ids


def _encode(ids: np.ndarray, legend: Legend, grid: Grid | None) -> bytes:
    from rasterio.crs import CRS
    from rasterio.errors import NotGeoreferencedWarning
    from rasterio.io import MemoryFile

    colors = {0: (0, 0, 0, 0)} | {i: (*rgb, 255) for i, rgb in legend.colors().items()}
    place = {"transform": grid.transform, "crs": CRS.from_wkt(grid.crs) if grid.crs else None} if grid else {}
    with warnings.catch_warnings(), MemoryFile() as memory:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(
            driver="GTiff", height=ids.shape[0], width=ids.shape[1], count=1, dtype="uint8", nodata=0,
            compress="deflate", **place,
        ) as dataset:  # fmt: skip
            dataset.write(ids, 1)
            dataset.write_colormap(1, colors)
        return bytes(memory.read())


def _open(archive: Path) -> io.BufferedReader:
    try:
        return archive.open("rb")
    except OSError as error:
        raise DataError(f"cannot read the submission {archive.name}: {error.strerror}") from None


def _exactly(pipe: int, size: int, deadline: float) -> bytes | None:
    """Read exactly ``size`` bytes; None if the pipe ends before. Raises TimeoutError after the deadline."""
    poll = select.poll()
    poll.register(pipe, select.POLLIN | select.POLLHUP)
    parts, missing = [], size
    while missing:
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError
        part = os.read(pipe, min(missing, 1 << 20))
        if not part:
            return None
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)
