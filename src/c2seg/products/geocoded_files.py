"""Which files make up a geocoded radar product: a file, a folder, or a zip; one product of one date."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from c2seg.errors import DataError, one_line
from c2seg.products.geocoded_names import POLARIZATIONS, NamedImage, named_image, named_mask
from c2seg.products.native import GdalFile
from c2seg.raster import open_raster

__all__ = ["FoundFiles", "described_bands", "described_in", "find_files", "has_images", "is_described"]

_MOST_FILES = 20_000


@dataclass(frozen=True)
class FoundFiles:
    """Images of one product and the layover and shadow masks beside them; several of a polarization are parts of a mosaic."""

    path: Path
    in_archive: bool
    images: tuple[NamedImage, ...]
    masks: tuple[str, ...]
    beside: tuple[str, ...] = ()
    """Polarizations of the same product that lie beside a file and are not read."""

    def source(self, name: str) -> GdalFile:
        """Return a file as a raster."""
        if self.in_archive:
            return GdalFile(self.path, name)
        return GdalFile(self.path / name if self.path.is_dir() else self.path)

    def on_disk(self) -> tuple[Path, ...]:
        """Return the files on disk that are read."""
        if self.in_archive or not self.path.is_dir():
            return (self.path,)
        return tuple(self.path / name for name in (*(image.name for image in self.images), *self.masks))


def has_images(path: Path) -> bool:
    """Return whether a folder or zip holds geocoded radar images by the names of its files."""
    try:
        return any(named_image(name) for name in _names(path))
    except DataError:
        return False


def find_files(path: Path) -> FoundFiles:
    """Return the files of a product in a folder or zip. Raises DataError if it holds several products, or none."""
    names = _names(path)
    images = [image for name in names if (image := named_image(name, path.resolve().name))]
    if not images:
        raise DataError(f"{path} holds no geocoded radar images such as ..._VV.tif")
    groups = sorted({image.group for image in images})
    if len(groups) > 1:
        examples = ", ".join(next(image.name for image in images if image.group == group) for group in groups[:3])
        raise DataError(
            f"{path} holds {len(groups)} radar products ({examples}, ...); give one file, or a folder of one product"
        )
    order = sorted(images, key=lambda image: (POLARIZATIONS.index(image.polarization), image.name))
    return FoundFiles(path, not path.is_dir(), tuple(order), tuple(name for name in names if named_mask(name)))


def described_bands(path: Path) -> dict[str, int]:
    """Return the bands of a raster file that are polarizations by their descriptions; see ``described_in``."""
    with open_raster(path) as dataset:
        return described_in(dataset)


def described_in(dataset: Any) -> dict[str, int]:
    """Return numbers of bands (from 1) by the polarization that describes them; none if another band is an image, too."""
    texts = [(text or "").strip().upper() for text in dataset.descriptions]
    named = {text: number for number, text in enumerate(texts, 1) if text in POLARIZATIONS}
    return named if set(texts) <= {*POLARIZATIONS, "ANGLE"} else {}


def is_described(path: Path) -> bool:
    """Return whether a raster's band descriptions are polarizations."""
    try:
        return bool(described_bands(path))
    except DataError:
        return False


def _names(path: Path) -> list[str]:
    """Return the names of files in a folder, or one folder below, or in a zip, sorted, with slashes."""
    if path.is_dir():
        items = [*_some(path.glob("*")), *_some(path.glob("*/*"))]
        return sorted(item.relative_to(path).as_posix() for item in items if item.is_file())
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [item.filename for item in archive.infolist() if not item.is_dir()]
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise DataError(f"cannot read {path}: {one_line(error)}; download it again") from error
    return sorted(name for name in entries if ".." not in PurePosixPath(name).parts and not name.startswith("/"))


def _some(items: Iterable[Path]) -> list[Path]:
    return [item for item, _ in zip(items, range(_MOST_FILES), strict=False)]
