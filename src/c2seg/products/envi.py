"""Any ENVI cube: a raw file with its header ``.hdr``, as processors of hyperspectral data write it.

GDAL reads the pixels and ``map info``, rotated pixels included. What only the header tells is read here: wavelengths and
widths with their unit, the bad-band list, gains and offsets, the reflectance scale factor, the value to ignore.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from affine import Affine

from c2seg.documents import read_bytes
from c2seg.errors import DataError
from c2seg.products import rasterfile
from c2seg.products.base import Kind, Product, ProductBand, ProductFacts, ProductOptions, Unit
from c2seg.products.hyper import CubeBand, CubeProduct, choose, dropped_note, grid_of, moment
from c2seg.products.native import GdalFile, NativeBand
from c2seg.raster import FileBand, bands_of, data_files

__all__ = ["LOOKS_FOR", "open", "open_as", "recognize"]

LOOKS_FOR = "an ENVI cube (raw data and NAME.hdr)"

_MOST_BYTES = 16 << 20
_LEAST_BANDS_OF_HSI = 40
_OTHERS = (
    ".hdr",
    ".xml",
    ".txt",
    ".tif",
    ".tiff",
    ".jp2",
    ".png",
    ".jpg",
    ".enp",
    ".sta",
    ".zip",
    ".tar",
    ".gz",
    ".safe",
)
_ROTATED = 1e-9


def recognize(path: Path) -> bool:
    """Return True for an ENVI file, or its header."""
    if not path.is_file():
        return False
    if path.suffix.lower() == ".hdr":
        return _is_header(path) and _cube_of(path) is not None
    return path.suffix.lower() not in _OTHERS and _header_of(path) is not None


def open(path: Path, options: ProductOptions) -> Product:
    """Open a cube whose kind is not given; see ``open_as``."""
    return open_as(path, options, None)


def open_as(path: Path, options: ProductOptions, kind: Kind | None) -> Product:
    """Open a cube as a product of a kind; None: HSI from 40 bands on, else MSI. SAR is opened as any other raster.

    Raises DataError if the file is damaged, if its header contradicts itself, or if nothing places it.
    """
    cube = _cube_of(path) if path.suffix.lower() == ".hdr" else path
    header_path = path if path.suffix.lower() == ".hdr" else _header_of(path)
    if cube is None or header_path is None:
        raise DataError(f"{path} has no file and header of the same name; {LOOKS_FOR} is looked for")
    header = _parsed(header_path)
    _check_size(cube, header, header_path)
    if kind == "sar":
        return rasterfile.open_as(cube, options, kind)
    file = GdalFile(cube)
    grid = grid_of(file)
    with file.open() as dataset:
        described = bands_of(dataset)
        nodata = tuple((value,) if value is not None else () for value in dataset.nodatavals)
    for key in ("wavelength", "fwhm", "bbl", "data gain values", "data offset values"):
        count = len(_numbers(header, key, header_path))
        if count not in (0, len(described)):
            raise DataError(
                f"{header_path}: {key} has {count} values, the cube {len(described)} bands; correct the header"
            )
    scales, offsets = _scaling(header, described, header_path)
    every = _bands(described, scales, offsets)
    good = [band for band in every if described[band.index - 1].is_good]
    bands = choose(every, good, options.bands, path)
    kind = kind or ("hsi" if len(every) >= _LEAST_BANDS_OF_HSI else "msi")
    scaled = any((band.scale, band.offset) != (1.0, 0.0) for band in bands)
    unit: Unit = "reflectance" if scaled else "raw"
    facts = ProductFacts(
        kind=kind, sensor=_text(header, "sensor type") or "unknown", product=cube.name, unit=unit,
        acquired=moment(_text(header, "acquisition time")), files=tuple(dict.fromkeys((*data_files(cube), header_path))),
        processing={
            "interleave": _text(header, "interleave"), "scales": [band.scale for band in bands],
            "offsets": [band.offset for band in bands], "nodata": [str(value) for value in nodata[0]],
            "rotation": round(math.degrees(math.atan2(grid.transform.d, grid.transform.a)), 6),
        },
        notes=_notes(cube, grid.transform, unit, [] if options.bands else [b for b in every if b not in good]),
    )  # fmt: skip
    native = tuple(
        NativeBand(file, grid, band.index, band.scale, band.offset, nodata[band.index - 1]) for band in bands
    )
    shown = tuple(_described(band, described[band.index - 1]) for band in bands)
    return CubeProduct(facts, shown, native, (), grid, options.kernel)


def _described(band: CubeBand, stated: FileBand) -> ProductBand:
    return ProductBand(band.name, stated.color, stated.wavelength_nm, stated.fwhm_nm)


def _bands(described: Sequence[FileBand], scales: Sequence[float], offsets: Sequence[float]) -> list[CubeBand]:
    return [
        CubeBand(
            band.name or f"band {number}", number, band.wavelength_nm or 0.0, band.fwhm_nm, scales[number - 1],
            offsets[number - 1],
        )
        for number, band in enumerate(described, 1)
    ]  # fmt: skip


def _scaling(header: dict[str, str], described: Sequence[FileBand], path: Path) -> tuple[list[float], list[float]]:
    """Return scale and offset of each band: the header's gains and offsets, else what the file states for reflectance."""
    gains, offsets = (_numbers(header, f"data {name} values", path) for name in ("gain", "offset"))
    if gains or offsets:
        count = len(described)
        return gains or [1.0] * count, offsets or [0.0] * count
    return [band.scale for band in described], [band.offset for band in described]


def _notes(cube: Path, transform: Affine, unit: str, bad: Sequence[CubeBand]) -> tuple[str, ...]:
    notes = []
    if unit == "raw":
        notes.append(f"{cube.name} states no scale; its numbers are passed on as they are")
    if abs(transform.b) > _ROTATED * abs(transform.a):
        notes.append(f"the pixels of {cube.name} are rotated against north; they are warped as the header says")
    return (*notes, *dropped_note(bad, "the header's bad-band list excludes them"))


def _check_size(cube: Path, header: dict[str, str], path: Path) -> None:
    """Raise DataError if the file is shorter than its header says: GDAL would read zeros."""
    bits = {"1": 8, "2": 16, "3": 32, "4": 32, "5": 64, "6": 64, "9": 128, "12": 16, "13": 32, "14": 64, "15": 64}
    try:
        lines, samples, bands = (int(header[key]) for key in ("lines", "samples", "bands"))
        size = lines * samples * bands * bits[header["data type"]] // 8 + int(header.get("header offset", "0"))
    except (KeyError, ValueError) as error:
        raise DataError(
            f"{path}: lines, samples, bands or data type is missing or no number; correct the header"
        ) from error
    if header.get("file compression", "0") == "0" and cube.stat().st_size < size:
        raise DataError(
            f"{cube} has {cube.stat().st_size} bytes, its header says {size}; it is truncated, copy it again"
        )


def _numbers(header: dict[str, str], key: str, path: Path) -> list[float]:
    """Return the numbers of a list in the header; none if there is no such list."""
    parts = [part for part in re.split(r"[\s,{}]+", header.get(key, "")) if part]
    try:
        return [float(part) for part in parts]
    except ValueError:
        raise DataError(f"{path}: {key} has a value that is no number; correct the header") from None


def _text(header: dict[str, str], key: str) -> str:
    return header.get(key, "").strip("{} ")


def _parsed(path: Path) -> dict[str, str]:
    """Return the header's values by key, in lower case; a value in braces may span lines."""
    text = read_bytes(path, _MOST_BYTES).decode("utf-8", "replace")
    pairs = re.findall(r"^[ \t]*([^=\n;{}]+?)[ \t]*=[ \t]*(\{[^}]*\}|[^\n]*)", text, re.M)
    return {key.strip().lower(): value.strip() for key, value in pairs}


def _is_header(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(4) == b"ENVI"
    except OSError:
        return False


def _header_of(path: Path) -> Path | None:
    """Return the header that belongs to a file: ``cube.hdr`` or ``cube.img.hdr``, in any case."""
    for name in (f"{path.stem}.hdr", f"{path.name}.hdr", f"{path.stem}.HDR", f"{path.name}.HDR"):
        header = path.parent / name
        if header != path and header.is_file() and _is_header(header):
            return header
    return None


def _cube_of(header: Path) -> Path | None:
    """Return the file that belongs to a header."""
    stem = header.name[: -len(header.suffix)]
    for suffix in ("", ".img", ".dat", ".bsq", ".bil", ".bip", ".raw", ".IMG", ".DAT", ".BSQ", ".BIL", ".BIP"):
        cube = header.parent / f"{stem}{suffix}"
        if cube.is_file():
            return cube
    return None
