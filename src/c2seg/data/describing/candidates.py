"""Which files of a folder are rasters, and what each is: its part in a city, with the evidence for it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from c2seg.data.vectors import is_vector
from c2seg.errors import C2SegError, one_line
from c2seg.raster import KnownBands, RasterFile, known_bands
from c2seg.types import Window

__all__ = ["PARTS", "Candidate", "find_candidates", "is_band_name", "sample_values"]

PARTS = ("msi", "hsi", "sar", "label", "valid")
"""What a raster may be in a city."""

_SUFFIXES = (".tif", ".tiff", ".img", ".jp2", ".vrt", ".dat", ".bsq", ".bil", ".bip", ".nc", ".h5", ".he5")
_HYPERSPECTRAL_BANDS = 30
_SAMPLE_PX = 128
_MOST_CLASSES = 40
_NAMES = {
    "label": re.compile(r"label|land_?cover|lulc|classes|reference|ground_?truth|(^|_)gt(_|$)", re.I),
    "valid": re.compile(r"valid|(^|_)mask|covered", re.I),
    "hsi": re.compile(r"hsi|hyper|enmap|prisma|desis|aviris|hyspex|ahsi", re.I),
    "sar": re.compile(r"(^|_)sar|(^|_)s1[ab]?(_|$)|sentinel-?1|sigma0|gamma0|backscatter|terrasar", re.I),
    "msi": re.compile(r"(^|_)msi|(^|_)s2[abc]?(_|$)|sentinel-?2|landsat|multispectral", re.I),
}


@dataclass(frozen=True)
class Candidate:
    """A raster, the part that it seems to have in a city (None: unknown), and why; ``certain``: several signs agree, or one
    that cannot mean anything else.
    """

    file: str
    source: RasterFile | None
    """None: polygons, which are opened when labels are read."""
    part: str | None
    evidence: str
    certain: bool = True


def find_candidates(folder: Path) -> tuple[list[Candidate], list[str]]:
    """Return the rasters and polygons of a folder by name, and one line for each file that cannot be opened."""
    candidates, faults = [], []
    for path in sorted(folder.iterdir()):
        if not path.is_file() or path.name.startswith("."):
            continue
        if is_vector(path):
            candidates.append(Candidate(path.name, None, "label", "a file of polygons", certain=False))
        elif path.suffix.lower() in _SUFFIXES or _has_envi_header(path):
            try:
                candidates.append(_candidate(path))
            except C2SegError as error:
                faults.append(f"{path.name} cannot be used: {one_line(error)}")
    return candidates, faults


def sample_values(source: RasterFile) -> np.ndarray:
    """Return raw values [C, N] of five squares of a raster: in its middle and in its corners."""
    height, width = min(_SAMPLE_PX, source.height), min(_SAMPLE_PX, source.width)
    rows, cols = source.height - height, source.width - width
    corners = {(0, 0), (0, cols), (rows, 0), (rows, cols), (rows // 2, cols // 2)}
    squares = [source.read(Window(row, col, height, width)) for row, col in sorted(corners)]
    return np.concatenate([square.reshape(source.count, -1) for square in squares], axis=1)


def _has_envi_header(path: Path) -> bool:
    return path.suffix == "" and (path.with_name(f"{path.name}.hdr")).is_file()


def _candidate(path: Path) -> Candidate:
    source = RasterFile(path)
    known = known_bands(source.descriptions, source.tags)
    part, evidence, certain = _part(path, source, known)
    return Candidate(path.name, source, part, evidence, certain)


def _part(path: Path, source: RasterFile, known: KnownBands) -> tuple[str | None, str, bool]:
    """Return the part of a raster in a city, why, and whether that is certain."""
    if path.stem.lower() in PARTS and not (path.stem.lower() in {"label", "valid"} and source.count > 1):
        return path.stem.lower(), f"its name is {path.stem.lower()}", True
    if source.count == 1 and source.dtype.kind in "iu":
        return _of_whole_numbers(path, source)
    if signs := _signs_of_bands(source, known):
        return signs
    named = next((part for part in ("sar", "hsi", "msi") if _NAMES[part].search(path.stem)), None)
    if named:
        return named, "its name says so", False
    if source.count == 1:
        return None, "one band, which nothing names", False
    return "msi", f"{source.count} bands, and no sign of radar or of many narrow bands", False


def _signs_of_bands(source: RasterFile, known: KnownBands) -> tuple[str, str, bool] | None:
    """Return what the bands themselves tell: their number, wavelengths, names of polarizations or of a sensor's bands."""
    wavelengths = [band.wavelength_nm for band in source.file_bands if band.wavelength_nm]
    if source.count >= _HYPERSPECTRAL_BANDS:
        more = f" from {min(wavelengths):.0f} to {max(wavelengths):.0f} nm" if wavelengths else ""
        return "hsi", f"{source.count} bands{more}", True
    roles = [band.role for band in known.bands if band and band.role]
    if any(role in {"vv", "vh", "hh", "hv"} for role in roles):
        return "sar", f"bands are named by polarization ({', '.join(map(str, roles))})", True
    if known.sensor:
        return "msi", f"bands are named as those of {known.sensor}", source.count > 1
    if roles or wavelengths:
        return "msi", "bands have names of colors" if roles else "bands have wavelengths", source.count > 1
    return None


def _of_whole_numbers(path: Path, source: RasterFile) -> tuple[str | None, str, bool]:
    """Return what one band of whole numbers is: valid pixels, or classes."""
    values = np.unique(sample_values(source))
    few = len(values) <= _MOST_CLASSES and values.max(initial=0) <= 255
    if few and len(values) <= 2 and _NAMES["valid"].search(path.stem):
        return "valid", f"its name, and values {_listed(values)}", True
    if few and _NAMES["label"].search(path.stem):
        return "label", f"its name, and values {_listed(values)}", True
    if few and len(values) > 2:
        return "label", f"one band of few whole numbers: {_listed(values)}", False
    if is_band_name(path.stem):
        known = known_bands([path.stem], source.tags).bands[0]
        part = "sar" if known and known.role in {"vv", "vh", "hh", "hv"} else "msi"
        return part, "its name is that of a band", False
    return None, "one band, which nothing names", False


def is_band_name(name: str) -> bool:
    """Return whether a name is that of a band of some sensor, also where sensors disagree on what it is."""
    known = known_bands([name])
    return known.bands[0] is not None or bool(known.note)


def _listed(values: Sequence[int] | np.ndarray) -> str:
    shown = ", ".join(str(int(value)) for value in values[:8])
    return shown + (", ..." if len(values) > 8 else "")
