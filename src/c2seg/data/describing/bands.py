"""The entry of a modality: its bands with roles, wavelengths and widths, nodata, scale and offset, and what is uncertain."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from c2seg.data.city import Band
from c2seg.data.describing.candidates import Candidate, sample_values
from c2seg.data.fill import FillSearch
from c2seg.data.layouts.cityfile import ModalityEntry
from c2seg.data.layouts.imagery import modality_of, open_modality
from c2seg.documents import read_text
from c2seg.errors import DataError, number_ranges
from c2seg.raster import GridRelation, RasterFile

__all__ = ["Entry", "describe_bands", "modality_entry"]

_WAVELENGTH_FILE = re.compile(r"wave_?lengths?|bands?_?(nm|um)", re.I)
_PER_TEN_THOUSAND = (1_500.0, 30_000.0)  # 99th percentile of reflectance that is stored as whole numbers in 1e-4
_LISTED_BANDS = 20  # of more bands wavelengths are listed, and no names


@dataclass
class Entry:
    """Lines of city.yaml for one modality: settings by key, and comments below them."""

    values: dict[str, object]
    evidence: str
    comments: list[str] = field(default_factory=list)
    uncertain: list[str] = field(default_factory=list)


def modality_entry(folder: Path, part: str, files: Sequence[Candidate]) -> Entry:
    """Return the entry of a modality that one raster is, or several of one band each."""
    names = [candidate.file for candidate in files]
    entry = Entry({"file": names[0]} if len(names) == 1 else {"files": names}, files[0].evidence)
    if not all(candidate.certain for candidate in files):
        entry.uncertain.append(f"{part} is {', '.join(names)}: {files[0].evidence}")
    source = files[0].source
    if source is None:
        raise DataError(f"{names[0]} is no raster")
    if len(files) == 1:
        entry.values |= describe_bands(folder, part, source, entry)
    _nodata(entry, part, source)
    _scaling(entry, part, source)
    return entry


def describe_bands(folder: Path, part: str, source: RasterFile, entry: Entry) -> dict[str, object]:
    """Return the settings of a raster's bands, as the file, its names or a text file beside it tell them."""
    name = source.path.name
    settings: dict[str, object] = {}
    chosen, notes = open_modality(folder, ModalityEntry(file=name))
    numbers = chosen.numbers if isinstance(chosen, RasterFile) else source.numbers
    empty = _empty_bands(source)
    used = [number for number in numbers if number not in empty]
    if len(used) < source.count:
        settings["keep"] = number_ranges(number + 1 for number in used)
        chosen, _ = open_modality(folder, ModalityEntry(file=name, keep=str(settings["keep"])))
        entry.comments.append(
            "keep: without bands that the file lists as bad, or that hold no value where it was sampled"
        )
    if empty:
        ranges = number_ranges(number + 1 for number in sorted(empty))
        entry.uncertain.append(
            f"{part}: bands {ranges} hold no value where {name} was sampled; `keep:` leaves them out"
        )
    opened, remarks = modality_of(part, chosen, GridRelation(), ModalityEntry(file=name))
    signs = ("unclear", "differ", "states")
    entry.uncertain += [text for text in (*notes, *remarks) if any(sign in text for sign in signs)]
    bands = opened.bands
    if not any(band.wavelength_nm for band in bands) and part != "sar":
        bands = _with_listed(folder, bands, used, source.count, entry)
    return settings | _as_settings(part, bands, entry)


def _empty_bands(source: RasterFile) -> set[int]:
    """Return the bands (0-based) without a value in a sample in which other bands have some."""
    values = sample_values(source)
    has = np.isfinite(values) & (values != (np.nan if source.nodata is None else source.nodata))
    without = {source.numbers[index] for index, any_value in enumerate(has.any(axis=1)) if not any_value}
    return without if len(without) < source.count else set()


def _as_settings(part: str, bands: Sequence[Band], entry: Entry) -> dict[str, object]:
    """Return bands as settings; a list of many bands has wavelengths and widths alone."""
    if len(bands) > _LISTED_BANDS and all(band.wavelength_nm for band in bands):
        listed: dict[str, object] = {"wavelengths_nm": [band.wavelength_nm for band in bands]}
        if all(band.fwhm_nm for band in bands):
            listed["fwhm_nm"] = [band.fwhm_nm for band in bands]
        return listed
    if not any(band.name or band.role or band.wavelength_nm for band in bands):
        entry.uncertain.append(f"{part}: nothing names its {len(bands)} bands; give `bands:` with roles or wavelengths")
        return {}
    if part != "hsi" and not any(band.role for band in bands):
        entry.uncertain.append(f"{part}: no band has a role (such as red, nir, vv); add `role:` where you know it")
    described = [{name: value for name, value in _facts(band).items() if value not in (None, "")} for band in bands]
    return {"bands": described}


def _facts(band: Band) -> dict[str, object]:
    """Return a band's facts by key of city.yaml."""
    return {
        "name": band.name, "role": band.role, "wavelength_nm": band.wavelength_nm, "fwhm_nm": band.fwhm_nm
    }  # fmt: skip


def _with_listed(
    folder: Path, bands: Sequence[Band], numbers: Sequence[int], count: int, entry: Entry
) -> tuple[Band, ...]:
    """Return bands with the wavelengths of a text file in the folder, which has one number for each band of the file, or for
    each that is used (``numbers``, of ``count``).
    """
    for path in sorted(folder.glob("*")):
        if path.suffix.lower() not in {".txt", ".csv"} or not _WAVELENGTH_FILE.search(path.stem):
            continue
        listed = _numbers(path)
        if len(listed) == count:
            listed = [listed[number] for number in numbers]
        if len(listed) != len(bands):
            entry.uncertain.append(f"{path.name} lists {len(listed)} wavelengths, there are {count} bands")
            continue
        factor = 1.0 if max(listed) > 30 else 1000.0
        entry.comments.append(f"wavelengths: from {path.name}{'' if factor == 1 else ', micrometers'}")
        return tuple(
            Band(band.name, band.role, round(number * factor, 4), band.fwhm_nm)
            for band, number in zip(bands, listed, strict=True)
        )
    return tuple(bands)


def _numbers(path: Path) -> list[float]:
    """Return the last number of every line of a text file that ends with one."""
    lines = read_text(path, error=DataError).split("\n")
    matches = [re.search(r"(\d+(?:\.\d+)?)\s*(nm|um|µm)?\s*$", line) for line in lines]
    return [float(match[1]) for match in matches if match and float(match[1]) > 0]


def _nodata(entry: Entry, part: str, source: RasterFile) -> None:
    """State the file's nodata value; look for one that it does not declare."""
    if source.nodata is not None:
        entry.values["nodata"] = _short(source.nodata)
        return
    if source.mask is not None:
        entry.comments.append("nodata: the file's own mask counts")
        return
    search = FillSearch()
    values = sample_values(source)
    search.add(values[:, None, :], np.isfinite(values).all(axis=0)[None])
    if search.note(part):
        fill = search.low if search.counts.get(search.low, 0) else search.high
        entry.comments.append(f"nodata: {fill:g}   # if pixels with {fill:g} in all bands hold no data")
        entry.uncertain.append(f"{part}: many pixels have {fill:g} in all bands; if they hold no data, set `nodata:`")


def _scaling(entry: Entry, part: str, source: RasterFile) -> None:
    """State the file's scale and offset; of whole numbers that look like reflectance, suggest them."""
    scales, offsets = ({getattr(band, key) for band in source.file_bands} for key in ("scale", "offset"))
    if scales != {1.0} or offsets != {0.0}:
        for key, numbers in (("scale", scales), ("offset", offsets)):
            by_band = [_short(getattr(band, key)) for band in source.file_bands]
            entry.values[key] = by_band[0] if len(numbers) == 1 else by_band
        return
    if part == "sar" or source.dtype.kind not in "iu" or source.dtype.itemsize == 1:
        return
    values = sample_values(source)
    used = values[values != source.nodata]
    if used.size and _PER_TEN_THOUSAND[0] <= np.percentile(used, 99) <= _PER_TEN_THOUSAND[1]:
        entry.comments.append("scale: 0.0001   # if the values are reflectance times 10,000")
        entry.uncertain.append(f"{part}: values look like reflectance times 10,000; if so, set `scale: 0.0001`")


def _short(number: float) -> float | int:
    return int(number) if float(number).is_integer() else float(number)
