"""The files of a delivery: a folder, a zip or tar archive, or an archive in an archive, as some agencies ship.

Archives are read in place. Rasters in them are opened through GDAL, one archive inside another included.
"""

from __future__ import annotations

import io
import re
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

import rasterio
from rasterio.io import DatasetReader

from c2seg.documents import read_bytes
from c2seg.errors import DataError, one_line
from c2seg.products.native import GdalFile
from c2seg.raster import GDAL_ERRORS, data_files, without_georeference

__all__ = ["Delivery", "InnerFile", "is_archive", "open_delivery"]

_MOST_BYTES = 64 << 20
_MOST_NAMES = 20_000
_ZIP = (".zip",)
_TAR = (".tar", ".tgz", ".tar.gz")
_FAULTS = (
    OSError,
    EOFError,
    zipfile.BadZipFile,
    tarfile.TarError,
    KeyError,
    RuntimeError,
    NotImplementedError,
    ValueError,
)
_DRIVERS = {".jp2": ("JP2OpenJPEG",), ".bsq": ("ENVI",), ".bil": ("ENVI",), ".bip": ("ENVI",), ".dat": ("ENVI",),
            ".img": ("ENVI", "HFA")}  # fmt: skip


@dataclass(frozen=True)
class InnerFile(GdalFile):
    """A raster inside archives: ``chain`` holds archives inside ``path``, from the outside in; the last item is the raster."""

    chain: tuple[str, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return (_inner, (self.path, self.chain))

    def __str__(self) -> str:
        return f"{' in '.join(reversed(self.chain))} in {self.path}"

    def open(self) -> Any:
        """Return a new rasterio dataset. Raises DataError if the file is missing, damaged or of an unknown kind."""
        name, outer = str(self.path.resolve()), self.path.name
        for inner in self.chain:
            name = f"{'/vsizip/' if outer.lower().endswith(_ZIP) else '/vsitar/'}{{{name}}}/{inner}"
            outer = inner
        drivers = _DRIVERS.get(PurePosixPath(self.chain[-1]).suffix.lower(), ("GTiff",))
        try:
            with without_georeference(), rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="TRUE"):
                return DatasetReader(name, driver=list(drivers))
        except (*GDAL_ERRORS, TypeError, OSError) as error:
            reason = one_line(error.__cause__ or error)
            raise DataError(
                f"cannot open {self} as a raster: {reason}; unpack the archive, or download it again"
            ) from error


def _inner(path: Path, chain: tuple[str, ...]) -> InnerFile:
    return InnerFile(path, chain=chain)


@dataclass(frozen=True)
class Delivery:
    """Files of a product, by names with slashes: in a folder ``path``, or in an archive ``path`` (and those in ``inside``)."""

    path: Path
    inside: tuple[str, ...] = ()
    names: tuple[str, ...] = field(default=(), repr=False)

    @property
    def is_packed(self) -> bool:
        """Whether the files lie in an archive."""
        return self.path.is_file()

    def find(self, pattern: str) -> list[str]:
        """Return the names whose last part matches a regular expression, in any case, sorted."""
        expression = re.compile(pattern, re.I)
        return sorted(name for name in self.names if expression.search(PurePosixPath(name).name))

    def read(self, name: str, most: int = _MOST_BYTES) -> bytes:
        """Return a small file. Raises DataError if it is damaged or larger than ``most`` bytes."""
        if not self.is_packed:
            return read_bytes(self.path / name, most)
        try:
            with _opened(self.path, self.inside) as archive, _member(archive, name) as stream:
                content = stream.read(most + 1)
        except _FAULTS as error:
            raise DataError(
                f"cannot read {name} in {self.path}: {one_line(error)}; the archive is damaged, download it again"
            ) from error
        if len(content) > most:
            raise DataError(f"{name} in {self.path} has more than {most >> 20} MiB; it is not the file that is meant")
        return content

    def raster(self, name: str) -> GdalFile:
        """Return a file as a raster."""
        return InnerFile(self.path, chain=(*self.inside, name)) if self.is_packed else GdalFile(self.path / name)

    def files(self, names: Iterable[str]) -> tuple[Path, ...]:
        """Return the files on disk that reading ``names`` reads, sidecars included."""
        if self.is_packed:
            return (self.path,)
        return tuple(dict.fromkeys(file for name in names for file in data_files(self.path / name)))


def is_archive(path: Path) -> bool:
    """Return whether a file's name is that of an archive."""
    return path.name.lower().endswith((*_ZIP, *_TAR))


def open_delivery(path: Path, pattern: str) -> Delivery | None:
    """Return the files of a delivery at ``path`` if one of them matches ``pattern``; None otherwise.

    ``path`` is a folder (files in it or one folder deeper), a file of the product, or an archive. Names are matched by their
    last part, in any case. Only files in the folder of the match belong to the delivery, the outermost one first. Raises
    DataError for an archive that is damaged, and if there are several products.
    """
    expression = re.compile(pattern, re.I)
    if path.is_dir():
        names = [*_listed(path, ""), *(n for child in _folders(path) for n in _listed(path / child, f"{child}/"))]
        return _delivery(path, (), names, expression)
    if not path.is_file():
        return None
    if not is_archive(path):
        return (
            _delivery(path.parent, (), _listed(path.parent, ""), expression) if expression.search(path.name) else None
        )
    inside: tuple[str, ...] = ()
    for _ in range(3):
        names = _archived(path, inside)
        if delivery := _delivery(path, inside, names, expression):
            return delivery
        packed = [name for name in names if is_archive(Path(name))]
        if len(packed) > 1 and any(expression.search(PurePosixPath(name).name) for name in packed):
            raise DataError(
                f"{path} holds {len(packed)} products ({', '.join(packed[:3])}, ...); unpack it and give one of them"
            )
        if len(packed) != 1:
            return None
        inside = (*inside, packed[0])
    return None


def _delivery(path: Path, inside: tuple[str, ...], names: list[str], expression: re.Pattern[str]) -> Delivery | None:
    hits = sorted(name for name in names if expression.search(PurePosixPath(name).name) and not is_archive(Path(name)))
    if not hits:
        return None
    parents = {str(PurePosixPath(name).parent) for name in hits}
    folders = sorted(parents, key=lambda folder: (folder != ".", folder.count("/"), folder))
    if len(folders) > 1 and folders[0] != ".":
        raise DataError(f"{path} holds several products ({folders[0]}, {folders[1]}, ...); give one of them")
    return Delivery(path, inside, tuple(name for name in names if str(PurePosixPath(name).parent) == folders[0]))


def _listed(folder: Path, start: str) -> list[str]:
    try:
        return [f"{start}{item.name}" for item in sorted(folder.iterdir())[:_MOST_NAMES] if item.is_file()]
    except OSError:
        return []


def _folders(folder: Path) -> list[str]:
    try:
        return [item.name for item in sorted(folder.iterdir())[:_MOST_NAMES] if item.is_dir()]
    except OSError:
        return []


def _archived(path: Path, inside: tuple[str, ...]) -> list[str]:
    try:
        with _opened(path, inside) as archive:
            names = archive.namelist() if isinstance(archive, zipfile.ZipFile) else archive.getnames()
    except _FAULTS as error:
        raise DataError(f"{path} is no archive, or it is truncated: {one_line(error)}; download it again") from error
    return [name for name in names[:_MOST_NAMES] if not name.endswith("/")]


@contextmanager
def _opened(path: Path, inside: tuple[str, ...]) -> Iterator[Any]:
    """Open an archive, or one inside it."""
    with _archive(path.name, path) as archive:
        if not inside:
            yield archive
            return
        with _member(archive, inside[0]) as stream, _archive(inside[0], stream) as inner:
            if len(inside) == 1:
                yield inner
                return
            with _member(inner, inside[1]) as deeper, _archive(inside[1], deeper) as last:
                yield last


def _archive(name: str, source: Path | IO[bytes]) -> Any:
    if name.lower().endswith(_ZIP):
        return zipfile.ZipFile(source)
    return tarfile.open(source) if isinstance(source, Path) else tarfile.open(fileobj=source)


@contextmanager
def _member(archive: Any, name: str) -> Iterator[IO[bytes]]:
    stream = archive.open(name) if isinstance(archive, zipfile.ZipFile) else archive.extractfile(name)
    with stream or io.BytesIO() as opened:
        yield opened
