"""A raster file as a modality: what the file says of its bands, and what city.yaml says instead."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from c2seg.data.city import ROLES, Band, Modality
from c2seg.data.layouts.cityfile import ModalityEntry
from c2seg.errors import DataError, number_ranges
from c2seg.raster import FileBand, GridRelation, KnownBand, RasterFile, StackedFiles, known_bands

__all__ = ["modality_of", "open_modality"]

Images = RasterFile | StackedFiles

ByBand = float | tuple[float, ...]
"""One number for all bands, or one for each."""

_CONTRADICTING_NM = 40.0  # instruments of one series differ by less

_UNCOLORED = ("sar", "hsi")
"""Modalities whose files may be flagged as red, green and blue without being so."""


def open_modality(folder: Path, entry: ModalityEntry) -> tuple[Images, tuple[str, ...]]:
    """Open a modality's rasters with the bands that are used, and notes on what was recognized.

    Bands that the file lists as bad are left out unless ``keep`` selects bands. Alpha is no band, unless city.yaml describes
    that many bands. Of several files all bands are used. Raises DataError, GridError if they do not fit together.
    """
    if entry.files is not None:
        stack = StackedFiles(tuple(RasterFile(folder / file, declared_nodata=entry.nodata) for file in entry.files))
        return stack, stack.notes
    file = folder / str(entry.file)
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
    name: str, source: Images, relation: GridRelation, entry: ModalityEntry
) -> tuple[Modality, tuple[str, ...]]:
    """Return the modality of an open raster, and notes on the scale that its file states and on names of its bands."""
    scale, offset, scaled = _scaling(source, entry)
    bands, notes = _bands(name, source, entry)
    stack = Modality(
        source, relation, str(source.path), name, bands, scale, offset=offset, mask=source.mask,
        is_scaled_by_file=bool(scaled),
    )  # fmt: skip
    return stack, (*scaled, *notes)


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


def _bands(name: str, source: Images, entry: ModalityEntry) -> tuple[tuple[Band, ...], tuple[str, ...]]:
    """Return the bands as city.yaml describes them, else as the file, else as their names tell; and notes."""
    for key in ("bands", "wavelengths_nm", "fwhm_nm", "scale", "offset"):
        given = getattr(entry, key)
        if isinstance(given, tuple) and len(given) != source.count:
            raise DataError(f"{source.path} has {source.count} bands, city.yaml gives {len(given)} {key}")
    notes: tuple[str, ...] = ()
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
    if entry.bands is None and name != "hsi":
        bands, notes = _named(source, bands)
    return tuple(bands), notes


def _named(source: Images, bands: list[Band]) -> tuple[list[Band], tuple[str, ...]]:
    """Return the bands with what their names tell by sensor, and notes: what is unclear, what contradicts the file."""
    known = known_bands([band.name for band in bands], source.tags)
    notes = [f"{source.path}: {known.note}"] if known.note else []
    roles = [band.role for band in bands if band.role]
    result = []
    for band, facts in zip(bands, known.bands, strict=True):
        if facts is None:
            result.append(band)
        elif _contradicts(band, facts):
            notes.append(
                f"{source.path}: band {band.name} of {known.sensor or 'every sensor that fits'} lies at "
                f"{facts.wavelength_nm:g} nm, the file states {band.wavelength_nm:g} nm, which counts; "
                "correct it with `bands:` in city.yaml"
            )
            result.append(band)
        else:
            role = band.role or (facts.role if facts.role not in roles else None)
            is_stated = band.wavelength_nm is not None
            nm, width = (band.wavelength_nm, band.fwhm_nm) if is_stated else (facts.wavelength_nm, facts.fwhm_nm)
            result.append(replace(band, role=role, wavelength_nm=nm, fwhm_nm=width))
    return result, tuple(notes)


def _contradicts(band: Band, facts: KnownBand) -> bool:
    if band.wavelength_nm is None or facts.wavelength_nm is None:
        return False
    return abs(band.wavelength_nm - facts.wavelength_nm) > max(_CONTRADICTING_NM, facts.fwhm_nm or 0.0)


def _described(band: FileBand, *, use_color: bool) -> Band:
    named = band.name.lower() if band.name.lower() in ROLES else None
    return Band(
        band.name, named or (band.color if use_color and not band.name else None), band.wavelength_nm, band.fwhm_nm
    )


def _scaling(source: Images, entry: ModalityEntry) -> tuple[ByBand, ByBand, tuple[str, ...]]:
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
