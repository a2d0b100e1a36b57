"""A folder of rasters, described: one raster for each part of a city, its settings, and the text of city.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from c2seg.data.describing.bands import Entry, modality_entry
from c2seg.data.describing.candidates import Candidate, find_candidates, is_band_name
from c2seg.data.describing.classes import LabelFacts, describe_label
from c2seg.errors import C2SegError, DataError, one_line
from c2seg.legend import Legend
from c2seg.raster import RasterFile, known_bands, relate_grids

__all__ = ["FolderDescription", "describe_folder"]

_MODALITIES = ("msi", "hsi", "sar")


@dataclass(frozen=True)
class FolderDescription:
    """The text of city.yaml, a legend to write beside it (None: none is needed), and what is uncertain, one line each."""

    text: str
    legend: Legend | None
    uncertain: tuple[str, ...]


@dataclass
class _Choice:
    """Rasters by part, the others with the reason why they are none, and what is uncertain."""

    modalities: dict[str, list[Candidate]] = field(default_factory=dict)
    label: Candidate | None = None
    valid: Candidate | None = None
    unused: list[tuple[str, str]] = field(default_factory=list)
    uncertain: list[str] = field(default_factory=list)


def describe_folder(folder: Path) -> FolderDescription:
    """Describe the rasters of a folder. Pixels are only sampled, but for the label's values. Nothing is written.

    Raises DataError where no raster can be an image of a city.
    """
    candidates, faults = find_candidates(folder)
    choice = _choose(candidates)
    choice.unused += [(text.partition(" ")[0], text.partition(" ")[2]) for text in faults]
    if not choice.modalities:
        raise DataError(_no_images(folder, faults))
    entries = {part: modality_entry(folder, part, choice.modalities[part]) for part in choice.modalities}
    for entry in entries.values():
        choice.uncertain += entry.uncertain
    _check_grids(choice)
    label = _label(folder, choice)
    written = label.written if label else None
    return FolderDescription(_text(folder, entries, choice, label), written, tuple(choice.uncertain))


def _choose(candidates: Sequence[Candidate]) -> _Choice:
    """Give each part of a city one raster, or several files of one band each."""
    choice = _Choice()
    for candidate in candidates:
        if candidate.part is None:
            choice.unused.append((candidate.file, candidate.evidence))
    for part in (*_MODALITIES, "label", "valid"):
        able = [candidate for candidate in candidates if candidate.part == part]
        if not able:
            continue
        stack = _stack(able) if part in _MODALITIES else []
        best = min(able, key=lambda one: (_rank(part, one), one.file))
        used = stack if best.file in [one.file for one in stack] else [best]
        files = [one.file for one in used]
        for candidate in able:
            if candidate.file not in files:
                choice.unused.append((candidate.file, f"{used[0].file} is the {part}"))
                choice.uncertain.append(f"{candidate.file} may be the {part}, too; {used[0].file} is taken")
        if part in _MODALITIES:
            choice.modalities[part] = used
        elif part == "label":
            choice.label = best
        else:
            choice.valid = best
    return choice


def _rank(part: str, candidate: Candidate) -> tuple[bool, bool, int]:
    """Return what comes first among rasters of one part: the usual name, what is certain, more bands."""
    is_usual = Path(candidate.file).stem.lower() == part
    count = candidate.source.count if candidate.source else 0
    return not is_usual, not candidate.certain, -count


def _stack(able: Sequence[Candidate]) -> list[Candidate]:
    """Return files of one band each whose names are those of the bands of one sensor, in the sensor's order."""
    single = [one for one in able if one.source is not None and one.source.count == 1]
    known = known_bands([Path(one.file).stem for one in single])
    if len(single) < 2 or not all(is_band_name(Path(one.file).stem) for one in single):
        return []
    order = sorted(range(len(single)), key=lambda index: (_nm(known.bands[index]), single[index].file))
    evidence = f"names of bands{f' of {known.sensor}' if known.sensor else ''}"
    evidence += f"; {known.note}" if known.note else ""
    return [replace(single[index], evidence=evidence, certain=known.sensor is not None) for index in order]


def _nm(band: object) -> float:
    return getattr(band, "wavelength_nm", None) or float("inf")


def _check_grids(choice: _Choice) -> None:
    """Leave out the label and the valid pixels where they do not fit the finest image; note images that do not."""
    images = [one.source for files in choice.modalities.values() for one in files if one.source]
    finest = min(images, key=lambda source: source.grid.resolution_xy[0])
    for part, candidate in (("label", choice.label), ("valid", choice.valid)):
        if candidate is not None and candidate.source is not None and (why := _misfit(finest, candidate.source)):
            choice.unused.append((candidate.file, why))
            choice.uncertain.append(f"{candidate.file} is left out as the {part}: {why}")
            setattr(choice, part, None)
    for files in choice.modalities.values():
        if files[0].source is not finest and files[0].source and (why := _misfit(finest, files[0].source, most=None)):
            choice.uncertain.append(f"{files[0].file}: {why}")


def _misfit(finest: RasterFile, source: RasterFile, most: int | None = 1) -> str | None:
    """Return why a raster does not lie on the grid of the finest image; ``most``: how many times coarser it may be."""
    try:
        ratio = relate_grids(finest.grid, source.grid, finest.path.name, source.path.name).ratio
    except C2SegError as error:
        return one_line(error)
    return None if most is None or ratio <= most else f"it is {ratio} times coarser than {finest.path.name}"


def _label(folder: Path, choice: _Choice) -> LabelFacts | None:
    if choice.label is None:
        return None
    facts = describe_label(folder, choice.label)
    if facts is None:
        choice.unused.append((choice.label.file, "its values are no class ids within 1..254; give a `label_map:`"))
        choice.uncertain.append(f"{choice.label.file} is left out: its values are no class ids within 1..254")
        choice.label = None
        return None
    choice.uncertain += facts.uncertain
    if not choice.label.certain:
        choice.uncertain.append(f"label is {choice.label.file}: {choice.label.evidence}")
    return facts


def _text(folder: Path, entries: dict[str, Entry], choice: _Choice, label: LabelFacts | None) -> str:
    """Return city.yaml: settings, why each file is what it is, and as comments what is uncertain."""
    lines = [
        "# Written by c2seg init. Lines that begin with # are uncertain or tell why; correct them and run c2seg inspect."
    ]
    lines.append(_yaml({"name": folder.resolve().name}))
    if label is not None and label.legend != "c2seg13":
        lines.append(_yaml({"legend": label.legend}))
    elif label is not None:
        lines.append("legend: c2seg13   # the 13 classes of C2Seg")
    lines.append("modalities:")
    for part, entry in entries.items():
        lines.append(f"  {part}:   # {entry.evidence}")
        lines += [f"    {_yaml({key: value})}" for key, value in entry.values.items()]
        lines += [f"    # {text}" for text in entry.comments]
    if choice.label is not None and label is not None:
        lines.append(f"{_yaml({'label': choice.label.file})}   # {choice.label.evidence}; {label.evidence}")
    if choice.valid is not None:
        lines.append(f"{_yaml({'valid': choice.valid.file})}   # {choice.valid.evidence}")
    lines += [f"# not used: {file}: {why}" for file, why in choice.unused]
    lines += [f"# uncertain: {text}" for text in choice.uncertain]
    return "\n".join(lines) + "\n"


def _yaml(content: dict[str, object]) -> str:
    """Return one setting on one line."""
    [(key, value)] = content.items()
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**9, allow_unicode=True)
    return f"{key}: {text.removesuffix(chr(10)).removesuffix('...').rstrip()}"


def _no_images(folder: Path, faults: Sequence[str]) -> str:
    """Return why a folder cannot be described, and what to do."""
    inner = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if any(name.upper().endswith(".SAFE") for name in inner):
        return f"{folder} holds products as agencies deliver them: make a city of them with c2seg prepare"
    if faults:
        return f"{folder} has no raster that can be read: {faults[0]}"
    places = f"; describe one of its sub-folders: {', '.join(inner[:5])}" if inner else ""
    return f"{folder} has no raster that can be an image of a city (.tif, .img, .jp2, .vrt, .nc, ENVI){places}"
