"""HDF5 files (netCDF, HDF5, MATLAB v7.3) whose values lie in other files are refused: those are past the file's digest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from c2seg.errors import DataError, needs_extra, one_line

__all__ = ["check_all_stored", "check_link", "check_stored", "is_hdf5"]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def is_hdf5(path: Path) -> bool:
    """Return True if a file has HDF5's signature at its start or after 512, 1024, 2048, ... bytes."""
    size, place = path.stat().st_size, 0
    with path.open("rb") as stream:
        while place + len(_SIGNATURE) <= size:
            stream.seek(place)
            if stream.read(len(_SIGNATURE)) == _SIGNATURE:
                return True
            place = 2 * place or 512
    return False


def check_all_stored(path: Path) -> None:
    """Raise DataError if an HDF5 file links to others or an array in it lies in others; other files pass.

    Raises MissingExtraError if h5py, which tells, is not installed.
    """
    if not is_hdf5(path):
        return
    with needs_extra("a file in HDF5 (netCDF-4, .h5)", "mat"):
        import h5py
    try:
        with h5py.File(path, "r") as file:
            _check_group(path, file, set())
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"cannot read {path}: truncated or damaged ({one_line(error)})") from error


def check_link(path: Path, key: str, link: Any) -> None:
    """Raise DataError for a link (of h5py) to another file."""
    import h5py

    if isinstance(link, h5py.ExternalLink):
        raise _outside(path, key, "is a link to another file")


def check_stored(path: Path, key: str, item: Any) -> None:
    """Raise DataError for an array (of h5py) whose values lie outside the file."""
    if item.is_virtual:
        raise _outside(path, key, "is a virtual dataset, made of other files")
    if item.external:
        raise _outside(path, key, "lies in other files (external storage)")


def _check_group(path: Path, group: Any, visited: set[Any]) -> None:
    import h5py

    if group.id in visited:  # groups may contain themselves
        return
    visited.add(group.id)
    for key in group:
        link = group.get(key, getlink=True)
        check_link(path, key, link)
        if isinstance(link, h5py.SoftLink):
            continue
        item = group[key]
        if isinstance(item, h5py.Dataset):
            check_stored(path, key, item)
        elif isinstance(item, h5py.Group):
            _check_group(path, item, visited)


def _outside(path: Path, key: str, what: str) -> DataError:
    return DataError(f"{path}: {key} {what}, which is not read; write a file that holds the values themselves")
