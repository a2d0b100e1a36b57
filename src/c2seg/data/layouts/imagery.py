"""A raster file as a modality: what the file says of its bands, and what city.yaml says instead."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from c2seg.data.city import ROLES, Band, Modality
from c2seg.data.layouts.cityfile import ModalityEntry
from c2seg.errors import DataError, number_ranges
from c2seg.raster import FileBand, GridRelation, RasterFile

__all__ = ["modality_of", "open_modality"]

ByBand = float | tuple[float, ...]
"""One number for all bands, or one for each."""

_UNCOLORED = ("sar", "hsi")
"""Modalities whose files may be flagged as red, green and blue without being so."""


def open_modality(file: Path, entry: ModalityEntry) -> tuple[RasterFile, tuple[str, ...]]:
    """Open a modality's raster with the bands that are used, and notes on what was recognized.

    Bands that the file lists as bad are left out unless ``keep`` selects bands. Alpha is no band, unless city.yaml describes
    that many bands. Raises DataError.
    """
    source = RasterFile(file, subdataset=entry.subdataset, declared_nodata=entry.nodata)
    if entry.keep:
        return replace(source, bands=_keep(entry.keep, source.total_count, file)), source.notes
    described = len(entry.bands or entry.wavelengths_nm or ())
    if described == source.total_count > source.count:
        return replace(source, bands=tuple(range(described))), ()
    bad = [index for index, band in enumerate(source.file_bands) if not band.is_good]
    if not bad or described == source.count:
        return source, source.notes
    good = tuple(number for index, number in enumerate(source.numbers) if index not in bad)
    if not good:
        raise DataError(f"{file}: its bad-band list excludes all bands; select bands with `keep:` in city.yaml")
    note = (
        f"{file}: bands {number_ranges(source.numbers[i] + 1 for i in bad)} are in its bad-band list and are not used"
    )
    return replace(source, bands=good), (*source.notes, note)


def modality_of(
    name: str, source: RasterFile, relation: GridRelation, entry: ModalityEntry
) -> tuple[Modality, tuple[str, ...]]:
    """Return the modality of an open raster, and a note on its scale if the file states one."""
    scale, offset, note = _scaling(source, entry)
    stack = Modality(
        source, relation, str(source.path), name, _bands(name, source, entry), scale, offset=offset, mask=source.mask,
        is_scaled_by_file=bool(note),
    )  # fmt: skip
    return stack, note


def _keep(text: str, count: int, file: Path) -> tuple[int, ...]:
    """Parse 1-based ranges such as "1-130, 137-224" to 0-based band numbers."""
    numbers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last <= count:
            raise DataError(f"{file}: keep {text!r} is not a list of ranges within 1-{count}, such as 1-4, 7")
        numbers.extend(range(first - 1, last))
    return tuple(numbers)


def _bands(name: str, source: RasterFile, entry: ModalityEntry) -> tuple[Band, ...]:
    for key in ("bands", "wavelengths_nm", "fwhm_nm", "scale", "offset"):
        given = getattr(entry, key)
        if isinstance(given, tuple) and len(given) != source.count:
            raise DataError(f"{source.path} has {source.count} bands, city.yaml gives {len(given)} {key}")
    if entry.bands is not None:
        bands = list(entry.bands)
    else:
        colors = () if name in _UNCOLORED else [band.color for band in source.file_bands]
        use_colors = len({color for color in colors if color}) == len([color for color in colors if color])
        bands = [_described(band, use_color=bool(colors) and use_colors) for band in source.file_bands]
    if entry.wavelengths_nm is not None:
        bands = [replace(b, wavelength_nm=nm) for b, nm in zip(bands, entry.wavelengths_nm, strict=True)]
    if entry.fwhm_nm is not None:
        bands = [replace(b, fwhm_nm=nm) for b, nm in zip(bands, entry.fwhm_nm, strict=True)]
    return tuple(bands)


def _described(band: FileBand, *, use_color: bool) -> Band:
    named = band.name.lower() if band.name.lower() in ROLES else None
    return Band(
        band.name, named or (band.color if use_color and not band.name else None), band.wavelength_nm, band.fwhm_nm
    )


def _scaling(source: RasterFile, entry: ModalityEntry) -> tuple[ByBand, ByBand, tuple[str, ...]]:
    """Return scale and offset, city.yaml's before the file's, and a note if the file's count."""
    if entry.scale is not None or entry.offset is not None:
        return (1.0 if entry.scale is None else entry.scale), (0.0 if entry.offset is None else entry.offset), ()
    scale = _common([band.scale for band in source.file_bands])
    offset = _common([band.offset for band in source.file_bands])
    if scale == 1.0 and offset == 0.0:
        return 1.0, 0.0, ()
    shown = [f"{x:g}" if isinstance(x, float) else "one of each band" for x in (scale, offset)]
    return scale, offset, (f"{source.path}: the file's scale ({shown[0]}) and offset ({shown[1]}) are applied",)


def _common(values: Sequence[float]) -> ByBand:
    return values[0] if len(set(values)) == 1 else tuple(values)
