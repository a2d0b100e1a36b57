"""What a map needs on each disk, told before it is begun."""

from __future__ import annotations

import logging
import os
import shutil
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from c2seg.errors import OutputError
from c2seg.predict.layers import layer_shapes
from c2seg.predict.options import MapOptions
from c2seg.predict.scratch import scratch_folder
from c2seg.raster import is_object
from c2seg.types import Grid

__all__ = ["check_room"]

_log = logging.getLogger(__name__)

_OVERVIEWS = 4 / 3
"""Pixels of a raster with all its overviews, of those without."""


@dataclass(frozen=True)
class _Need:
    """Bytes on a disk: ``least`` are certain, ``most`` are for pixels that no compression makes smaller."""

    least: float = 0.0
    most: float = 0.0

    def __add__(self, more: _Need) -> _Need:
        return _Need(self.least + more.least, self.most + more.most)


def check_room(options: MapOptions, grid: Grid, num_classes: int) -> None:
    """Log what a map needs on each disk beside what a stopped run left there. Raises OutputError where that is not free."""
    needs: dict[int, _Need] = defaultdict(_Need)
    folders: dict[int, Path] = {}
    for path, need in _needs(options, grid, num_classes):
        folder = _existing(path)
        device = folder.stat().st_dev
        folders.setdefault(device, folder)
        needs[device] += need
    for device, need in needs.items():
        free = _free(folders[device])
        text = f"{_size(need.least)} to {_size(need.most)} in {folders[device]}, where {_size(free)} are free"
        if free < need.least:
            layers = "" if not options.layers else ", or the layers to `parts_folder`"
            raise OutputError(
                f"the disk is too small: the map needs {text}; make room, or write it to another disk{layers}"
            )
        if free < need.most:
            _log.warning("the disk may be too small: the map needs %s; compressed pixels take a part of it", text)
        else:
            _log.info("the map needs %s", text)


def _needs(options: MapOptions, grid: Grid, num_classes: int) -> list[tuple[Path, _Need]]:
    pixels = grid.height * grid.width
    scratch = scratch_folder(options.out)
    # Rows as they are, then a copy that gets its overviews; then the map.
    plain = pixels * (1 + _OVERVIEWS) - _used(scratch / "ids.bin")
    needs = [(options.out, _Need(plain, plain + pixels * _OVERVIEWS))]
    shapes = layer_shapes(tuple(options.layers), grid.width, num_classes)
    for name, path in options.layers.items():
        size = pixels * (shapes[name][0][0] if len(shapes[name][0]) > 1 else 1)
        if name in options.stays_in_parts:
            needs.append((path, _Need(most=size)))
            continue
        # The parts; the file, and its overviews once more while it is made.
        needs += [(options.parts_folder or scratch, _Need(most=size)), (path, _Need(most=size * (2 * _OVERVIEWS - 1)))]
    return [(path, need) for path, need in needs if not is_object(path)]


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _used(path: Path) -> int:
    """Return the bytes that a file takes on its disk."""
    try:
        return os.stat(path).st_blocks * 512
    except OSError:
        return 0


def _existing(path: Path) -> Path:
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
