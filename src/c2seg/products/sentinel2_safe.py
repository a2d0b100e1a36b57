"""The files of a Sentinel-2 product: a SAFE folder, a zip or tar of one (with or without its top folder), a granule in it."""

from __future__ import annotations

import os
import re
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from c2seg.errors import DataError, one_line
from c2seg.products.delivery import Delivery, is_archive

__all__ = ["Safe", "is_safe", "open_safe"]

_METADATA = re.compile(r"^(MTD_MSIL(1C|2A)|S2[A-D]_[A-Z]{4}_MTD_(SAF|DAM)L(1C|2A)_.*)\.xml$", re.I)
_ARCHIVE = re.compile(r"^S2[A-D]_(MSIL(1C|2A)|[A-Z]{4}_PRD_MSIL(1C|2A))", re.I)
_MOST_NAMES = 100_000
_DEPTH = 6


@dataclass(frozen=True)
class Safe:
    """Files of a product by names with slashes, from ``files.path`` on; ``metadata`` is the product's metadata file.

    ``granule`` is the name of the one granule that is asked for; None: any.
    """

    files: Delivery
    metadata: str
    granule: str | None = None

    def image(self, stem: str, granule: str | None = None) -> str | None:
        """Return the image file (JP2, or TIFF where somebody converted it) of this name without suffix; None without it."""
        for name in self.files.names:
            path = PurePosixPath(name)
            of_granule = granule is None or granule in path.parts
            if path.stem == stem and path.suffix.lower() in (".jp2", ".tif", ".tiff") and of_granule:
                return name
        return None

    def find(self, pattern: str, granule: str | None = None) -> list[str]:
        """Return names whose last part matches a regular expression, in a granule if one is given."""
        return [name for name in self.files.find(pattern) if granule is None or granule in PurePosixPath(name).parts]


def is_safe(path: Path) -> bool:
    """Return whether a path looks like a product: by its name, or by a metadata file in it."""
    if path.is_file():
        if _METADATA.match(path.name):
            return True
        if not is_archive(path):
            return False
        return bool(_ARCHIVE.match(path.name)) or (path.suffix.lower() == ".zip" and _has_metadata(_zipped(path)))
    return path.is_dir() and (_root(path) is not None or bool(_ARCHIVE.match(path.name)))


def open_safe(path: Path) -> Safe:
    """Return the files of a product. Raises DataError if there is no metadata file, or the archive is damaged."""
    granule = None
    if path.is_file() and is_archive(path):
        files = Delivery(path, (), tuple(_archived(path)))
    else:
        root = _root(path.parent if path.is_file() else path)
        if root is None:
            raise _no_metadata(path)
        granule = path.name if root != path and path.parent.name.upper() == "GRANULE" else None
        files = Delivery(root, (), tuple(_walked(root)))
    names = sorted((n for n in files.names if _METADATA.match(PurePosixPath(n).name)), key=lambda n: (n.count("/"), n))
    if not names:
        raise _no_metadata(path)
    top = [name for name in names if name.count("/") == names[0].count("/")]
    if len(top) > 1:
        raise DataError(f"{path} holds {len(top)} products ({', '.join(top[:3])}); unpack them and give one")
    start = str(PurePosixPath(names[0]).parent)
    if start != ".":
        files = Delivery(files.path, (), tuple(name for name in files.names if name.startswith(f"{start}/")))
    return Safe(files, names[0], granule)


def _no_metadata(path: Path) -> DataError:
    return DataError(f"{path} lacks MTD_MSIL1C.xml or MTD_MSIL2A.xml; give the whole .SAFE folder or zip")


def _root(path: Path) -> Path | None:
    """Return the folder with the metadata file: the path, its only child that is a SAFE, or that of a granule."""
    above = path.parent.parent if path.parent.name.upper() == "GRANULE" else path
    for folder in (path, above):
        if _has_metadata(_names(folder)):
            return folder
    children = [child for name in _names(path) if name.upper().endswith(".SAFE") and (child := path / name).is_dir()]
    return children[0] if len(children) == 1 and _has_metadata(_names(children[0])) else None


def _has_metadata(names: list[str]) -> bool:
    return any(_METADATA.match(PurePosixPath(name).name) for name in names)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))[:_MOST_NAMES]
    except OSError:
        return []


def _walked(root: Path) -> list[str]:
    names = []
    for folder, folders, files in os.walk(root):
        here = Path(folder).relative_to(root)
        if len(here.parts) >= _DEPTH:
            folders.clear()
        folders.sort()
        names += [(here / file).as_posix() for file in sorted(files)]
        if len(names) > _MOST_NAMES:
            raise DataError(f"{root} holds more than {_MOST_NAMES} files; give the .SAFE folder")
    return names


def _zipped(path: Path) -> list[str]:
    """Return the names in a zip; none if it is no zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()[:_MOST_NAMES]
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return []


def _archived(path: Path) -> list[str]:
    try:
        if path.suffix.lower() == ".zip":
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        else:
            with tarfile.open(path) as tar:
                names = tar.getnames()
    except (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError, ValueError, NotImplementedError) as error:
        page = _first_bytes(path).lstrip()[:1] == b"<"
        what = (
            "is a web page, not an archive (the download needs a login?)"
            if page
            else "is no archive, or it is truncated"
        )
        raise DataError(f"{path} {what}: {one_line(error)}; download it again") from error
    return [name for name in names[:_MOST_NAMES] if not name.endswith("/")]


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(512)
    except OSError:
        return b""
