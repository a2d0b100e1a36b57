"""The files of a Sentinel-1 SAFE product, a folder or a zip: one measurement, annotation and tables for each polarization."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from c2seg.documents import read_bytes
from c2seg.errors import DataError, one_line
from c2seg.products.native import GdalFile
from c2seg.products.xml import parse_xml

__all__ = ["ImageFiles", "Manifest", "Safe", "find_safe", "is_sentinel1"]

_MOST_XML = 64 << 20
_PRODUCT = re.compile(r"S1[A-D]_(?:IW|EW|SM|S\d|WV|EN)_", re.I)
_IMAGE = re.compile(r"s1[a-d]-[a-z0-9]+-(?P<type>[a-z]+)-(?P<polarization>[vh]{2})-.*\.tiff?$", re.I)
_SOFTWARE = re.compile(r"Sentinel-1 IPF")


@dataclass(frozen=True)
class ImageFiles:
    """Names inside the product of the files of one polarization. Tables that are missing are None."""

    polarization: str
    measurement: str
    annotation: str
    calibration: str | None
    noise: str | None


@dataclass(frozen=True)
class Manifest:
    """What ``manifest.safe`` says: version of the processor, polarizations that belong to it, its orbit files."""

    ipf: str
    polarizations: tuple[str, ...]
    orbit_files: tuple[str, ...]

    @property
    def ipf_number(self) -> float:
        """The version as a number, such as 2.84; 0 if it is not stated."""
        match = re.match(r"\d+\.\d+", self.ipf)
        return float(match[0]) if match else 0.0


@dataclass(frozen=True)
class Safe:
    """A product: ``path`` is the folder or the zip, ``root`` the folder in the zip (empty for a folder)."""

    path: Path
    root: str
    names: tuple[str, ...]
    """Files, relative to the product's folder, with slashes."""

    @property
    def name(self) -> str:
        """The product's name, without suffix."""
        return (self.root.rstrip("/") or self.path.resolve().name).removesuffix(".SAFE")

    def read(self, name: str) -> bytes:
        """Return an XML file. Raises DataError if it is missing, damaged, or larger than 64 MiB."""
        if not self.root:
            return read_bytes(self.path / name, _MOST_XML)
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.root + name) as stream:
                content = stream.read(_MOST_XML + 1)
        except (OSError, zipfile.BadZipFile, KeyError, RuntimeError, NotImplementedError) as error:
            raise DataError(f"cannot read {name} in {self.path}: {one_line(error)}; download it again") from error
        if len(content) > _MOST_XML:
            raise DataError(f"{name} in {self.path} has more than {_MOST_XML >> 20} MiB; it is not an annotation")
        return content

    def raster(self, name: str) -> GdalFile:
        """Return a measurement as a raster."""
        return GdalFile(self.path, self.root + name) if self.root else GdalFile(self.path / name)

    def files(self, names: tuple[str, ...]) -> tuple[Path, ...]:
        """Return the files on disk that hold ``names``."""
        return (self.path,) if self.root else tuple(self.path / name for name in names)

    def manifest(self) -> Manifest:
        """Return what the manifest says; nothing where there is none."""
        if "manifest.safe" not in self.names:
            return Manifest("", (), ())
        root = parse_xml(self.read("manifest.safe"), f"{self.path}: manifest.safe")
        versions = [item.get("version", "") for item in _all(root, "software") if _SOFTWARE.match(item.get("name", ""))]
        resources = [item.get("name", "") for item in _all(root, "resource")]
        orbits = {PurePosixPath(name).name for name in resources if re.search(r"AUX_(PRE|RES|POE)ORB", name)}
        polarizations = [(item.text or "").strip().upper() for item in _all(root, "transmitterReceiverPolarisation")]
        return Manifest(versions[0] if versions else "", tuple(polarizations), tuple(sorted(orbits)))

    def images(self) -> tuple[ImageFiles, ...]:
        """Return the images, co-polarized first. Raises DataError if there is none, or one without annotation."""
        measured = [name for name in self.names if name.startswith("measurement/") and _IMAGE.search(name)]
        if not measured:
            raise DataError(f"{self.path} has no images in its folder measurement; download the whole product")
        return tuple(sorted((self._image(name) for name in measured), key=_order))

    def _image(self, measurement: str) -> ImageFiles:
        stem = PurePosixPath(measurement).stem
        match = _IMAGE.search(measurement)
        annotation = self._with_stem("annotation/", stem)
        if annotation is None:
            raise DataError(f"{self.path} lacks annotation/{stem}.xml, without which its image cannot be placed; "
                            "download the whole product")  # fmt: skip
        return ImageFiles(
            polarization=match["polarization"].upper() if match else "",
            measurement=measurement,
            annotation=annotation,
            calibration=self._with_stem("annotation/calibration/calibration-", stem),
            noise=self._with_stem("annotation/calibration/noise-", stem),
        )

    def _with_stem(self, start: str, stem: str) -> str | None:
        """Return a file of a measurement's name; names of cloud-optimized measurements end in ``-cog``."""
        names = {name.lower(): name for name in self.names}
        likely = (f"{start}{stem}.xml", f"{start}{stem.removesuffix('-cog')}.xml")
        return next((names[name.lower()] for name in likely if name.lower() in names), None)


def is_sentinel1(path: Path) -> bool:
    """Return whether a folder, zip or manifest is a Sentinel-1 SAFE product by its name and the names of its files."""
    path = path.parent if path.name == "manifest.safe" else path
    if path.is_dir():
        name = path.resolve().name
        if _PRODUCT.match(name) and name.upper().endswith(".SAFE"):
            return True
        if not (path / "annotation").is_dir() and not (path / "manifest.safe").is_file():
            return False
        return bool(_PRODUCT.match(name)) or any(
            re.match(r"s1[a-d]-", item.name, re.I) for item in (path / "annotation").glob("*.xml")
        )
    if path.suffix.lower() != ".zip" or not path.is_file():
        return False
    if _PRODUCT.match(path.name) and not re.search(r"_RTC\d*_", path.name):
        return True
    try:
        return _root_in(_entries(path)) is not None
    except DataError:
        return False


def find_safe(path: Path) -> Safe:
    """Return the files of a product. Raises DataError if it is damaged or is none."""
    path = path.parent if path.name == "manifest.safe" else path
    if path.is_dir():
        names = sorted(item.relative_to(path).as_posix() for item in path.rglob("*") if item.is_file())
        return Safe(path, "", tuple(names))
    entries = _entries(path)
    root = _root_in(entries)
    if root is None:
        raise DataError(
            f"{path} holds no Sentinel-1 product: no folder S1..._....SAFE with an annotation in it; give the zip as downloaded"
        )
    return Safe(path, root, tuple(name.removeprefix(root) for name in entries if name.startswith(root)))


def _entries(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return [item.filename for item in archive.infolist() if not item.is_dir()]
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise DataError(f"cannot read {path}: {one_line(error)}; download it again") from error


def _root_in(entries: list[str]) -> str | None:
    """Return the folder of the product in a zip, with a slash at its end."""
    for name in entries:
        match = re.match(r"(?P<root>(?:[^/]+/)*S1[A-D]_[^/]*/)annotation/s1[a-d]-[^/]*\.xml$", name, re.I)
        if match and ".." not in match["root"].split("/"):
            return match["root"]
    return None


def _order(image: ImageFiles) -> int:
    order = ("VV", "VH", "HH", "HV")
    return order.index(image.polarization)


def _all(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    """Return the elements of a local name, in any namespace."""
    return [item for item in root.iter() if item.tag.rpartition("}")[2] == name]
