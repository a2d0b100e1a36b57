"""What a participant uploaded, as Codabench hands it over: unpacked, in the folder ``input/res``.

An entry holds for every data set the archive ``NAME.zip`` that ``c2seg submit pack`` makes, or its tiles in a folder ``NAME``.
With one data set the tiles may also lie at the top, as Codabench unpacks an archive that is uploaded by itself.
"""

from __future__ import annotations

import os
import re
import stat
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from c2seg.challenge.rules import SubmissionError, TileSet

__all__ = ["entry_archives"]

_IGNORED = {"metadata", "__MACOSX", ".DS_Store"}  # Codabench's own file; what a Mac adds to archives
_TILE = re.compile(r"[0-9]+_prediction\.tif")


def entry_archives(folder: Path, tile_sets: Mapping[str, TileSet], scratch: Path) -> dict[str, Path]:
    """Return the archive of every data set; tiles that lie in folders are packed into ``scratch``, without being opened.

    Raises SubmissionError where one is missing, for further files, and for links and special files.
    """
    items = {item.name: item for item in sorted(folder.iterdir()) if item.name not in _IGNORED}
    for item in items.values():
        _check_plain(item)
    if len(tile_sets) == 1 and any(_TILE.fullmatch(name) for name in items):
        ((name, tile_set),) = tile_sets.items()
        return {name: _packed(name, list(items.values()), tile_set, scratch / "entry.zip")}
    archives = {}
    for number, (name, tile_set) in enumerate(tile_sets.items()):
        archive, tiles = items.pop(f"{name}.zip", None), items.pop(name, None)
        if (archive is None) == (tiles is None):
            what = "has both" if archive else "lacks"
            raise SubmissionError(
                f"the entry {what} {name}.zip {'and' if archive else 'or'} a folder {name} of its tiles"
            )
        if archive is not None:
            archives[name] = archive
        elif tiles is not None:
            inside = sorted(tiles.iterdir()) if tiles.is_dir() else []
            archives[name] = _packed(name, inside, tile_set, scratch / f"{number}.zip")
    if items:
        raise SubmissionError(
            f"the entry holds {ascii(min(items))[:80]}, which is of no data set ({', '.join(tile_sets)})"
        )
    return archives


def _packed(name: str, files: Sequence[Path], tile_set: TileSet, out: Path) -> Path:
    """Store files in an archive as they are; what they are is the decoder's to check."""
    if len(files) != len(tile_set.sizes):
        raise SubmissionError(f"{name}: {len(files)} files; {len(tile_set.sizes)} tiles are expected")
    remaining = tile_set.max_archive_bytes
    with zipfile.ZipFile(out, "w") as archive:
        for path in files:
            _check_plain(path)
            if path.is_dir():
                raise SubmissionError(f"{name}: {ascii(path.name)[:80]} is a folder; only tiles are expected")
            remaining -= path.stat().st_size
            if remaining < 0:
                raise SubmissionError(f"{name}: its files have more than {tile_set.max_archive_bytes} bytes in all")
            archive.writestr(zipfile.ZipInfo(path.name, (1980, 1, 1, 0, 0, 0)), _content(path))
    return out


def _check_plain(path: Path) -> None:
    mode = path.lstat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise SubmissionError(f"{ascii(path.name)[:80]} is a link or a special file")


def _content(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read()
