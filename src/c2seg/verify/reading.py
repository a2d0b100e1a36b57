"""Read labels of a sample back: GeoPackages and CSV files of one or several interpreters, checked against the record."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from c2seg.documents import parse_json, read_text
from c2seg.errors import C2SegError, DataError, InputError
from c2seg.legend import Legend
from c2seg.metrics.references import agreed_legend
from c2seg.raster import relate_grids
from c2seg.verify.classmap import ClassMap
from c2seg.verify.rows import PointRow, read_rows
from c2seg.verify.samples import CANNOT_TELL, CONFIDENCES, UNLABELED, Interpretation, LabeledSample, SampleRecord
from c2seg.verify.suggestions import refuse_suggestion

__all__ = ["check_map", "check_same_crs", "read_record", "read_sample", "reference_values"]

_OFF_PX = 0.25  # coordinates in CSV files are rounded; a point further off was moved
_RECORD_BYTES = 64 << 20


def read_sample(
    paths: Path | Sequence[Path],
    class_map: ClassMap | None = None,
    *,
    legend: Legend | None = None,
    other_map: bool = False,
) -> LabeledSample:
    """Read a sample and its labels.

    ``paths`` are GeoPackages and CSV files of one sample, and may name its record (JSON). The record is looked for beside them
    and beside the map. Each interpreter's labels make one ``Interpretation``; rows without a label make none. ``class_map``
    must be the sampled map; with ``other_map`` any map of the same grid and classes will do.

    Raises DataError in one line for a sample of another map or CRS, unknown classes, duplicates, points outside or moved, and
    points of ``suggest``, which have no inclusion probability.
    """
    files = [paths] if isinstance(paths, Path) else list(paths)
    if not files:
        raise InputError("no sample; give the GeoPackage or CSV file of `c2seg sample`")
    tables = [(path, read_rows(path)) for path in files if path.suffix.lower() != ".json"]
    record, record_path = _record_of(files, tables, class_map)
    if class_map is not None:
        check_map(record, class_map, files[0], other_map=other_map)
    sampled = record.legend.legend()
    agreed_legend([("the legend given", legend), (str(files[0]), sampled)])
    interpretations: dict[str, Interpretation] = {}
    for path, rows in tables:
        _check_points(record, rows, path)
        for item in _interpretations(record, sampled, rows, path):
            if item.interpreter in interpretations:
                before = interpretations[item.interpreter]
                raise DataError(
                    f"{path} and {before.path} both hold labels of the interpreter {item.interpreter!r}; give one of them"
                )
            interpretations[item.interpreter] = item
    return LabeledSample.of(record, list(interpretations.values()), files, record_path)


def read_record(path: Path) -> SampleRecord:
    """Read the record of a sample. Raises DataError if it was changed after the points were drawn."""
    record = SampleRecord.read(path)
    if record.sample_id != record.digest():
        raise DataError(f"{path} was changed after its points were drawn; restore it, or draw a new sample")
    return record


def check_map(record: SampleRecord, class_map: ClassMap, sample: Path, *, other_map: bool = False) -> None:
    """Raise DataError if a sample is not of a map: another CRS, grid, classes, or (without ``other_map``) other ids."""
    here, there = class_map.grid, record.grid.grid()
    if (here.crs is None) != (there.crs is None) or (here.crs and not _same_crs(here.crs, there.crs or "")):
        raise DataError(
            f"{sample} is of a map in another CRS than {class_map.path}; give the map that it was drawn from"
        )
    if (here.height, here.width) != (there.height, there.width):
        raise DataError(
            f"{sample} is of a map of {there.height} x {there.width} pixels ({record.map.path}), {class_map.path} has "
            f"{here.height} x {here.width}; give the map that it was drawn from"
        )
    relate_grids(here, there, str(class_map.path), str(sample))
    agreed_legend([(str(class_map.path), class_map.legend), (str(sample), record.legend.legend())])
    if not other_map and class_map.count().digest != record.map.digest:
        raise DataError(
            f"{sample} is of another map ({record.map.path}): {class_map.path} has other classes; give the map that it was "
            "drawn from"
        )


def reference_values(rows: Sequence[PointRow], legend: Legend, path: Path) -> np.ndarray:
    """Return the references of rows, uint8 [n]: ids, 0 no label, 255 cannot tell. Raises DataError for unknown classes."""
    ids = {item.name.strip().casefold(): item.id for item in legend.classes}
    ids |= {str(item.id): item.id for item in legend.classes}
    ids |= {"": UNLABELED, "cannot tell": CANNOT_TELL}
    texts = [row.reference.strip().casefold() for row in rows]
    unknown = list(dict.fromkeys(row.reference for row, text in zip(rows, texts, strict=True) if text not in ids))
    if unknown:
        raise DataError(
            f"{path}: the references {', '.join(map(repr, unknown[:5]))} are not in legend {legend.name!r} "
            f"({', '.join(legend.names)}; or cannot tell)"
        )
    return np.array([ids[text] for text in texts], np.uint8)


def _record_of(
    files: Sequence[Path], tables: Sequence[tuple[Path, list[PointRow]]], class_map: ClassMap | None
) -> tuple[SampleRecord, Path]:
    """Return the one record that all files are of, and where it is."""
    named = [path for path in files if path.suffix.lower() == ".json"]
    for path in named:
        refuse_suggestion(path, _kind(path))
    records = {(record := read_record(path)).sample_id: (record, path) for path in named}
    for path, rows in tables:
        if not rows:
            raise DataError(f"{path} holds no point")
        numbers = {row.sample_id for row in rows}
        if len(numbers) > 1:
            raise DataError(f"{path} holds points of several samples; give a file of one")
        number = numbers.pop()
        refuse_suggestion(path, "", number)
        if number not in records:
            folders = [*(file.parent for file in files), *([class_map.path.parent] if class_map else [])]
            records[number] = _lookup(path, number, folders)
    if len(records) > 1:
        raise DataError(f"{', '.join(map(str, files))} are of different samples; give files of one")
    return next(iter(records.values()))


def _lookup(path: Path, number: str, folders: Iterable[Path]) -> tuple[SampleRecord, Path]:
    """Return the record of a sample id and its file: beside the points, else any record in the folders."""
    beside = [path.with_suffix(".json")] if path.with_suffix(".json").is_file() else []
    others = [file for folder in dict.fromkeys(folders) for file in sorted(folder.glob("*.json"))]
    for file in dict.fromkeys([*beside, *others]):
        kind, sample_id = _head(file)
        if file in beside or sample_id == number:
            refuse_suggestion(path, kind)
        if kind == SampleRecord.artifact_name() and (sample_id == number or (file in beside and not number)):
            return read_record(file), file
    if not number:
        raise DataError(
            f"{path} is no file of `c2seg sample`: it has no sample_id, and no record {path.stem}.json is beside it"
        )
    raise DataError(
        f"the record of the sample {number[:8]}... of {path} is neither beside it nor beside the map; name it, too "
        "(SAMPLE.json)"
    )


def _head(path: Path) -> tuple[str, str]:
    """Return kind and sample id of a JSON file; empty for others."""
    try:
        content = parse_json(read_text(path, _RECORD_BYTES), str(path))
    except C2SegError:
        return "", ""
    if not isinstance(content, dict):
        return "", ""
    return str(content.get("artifact", "")), str(content.get("sample_id", ""))


def _kind(path: Path) -> str:
    return _head(path)[0]


def _check_points(record: SampleRecord, rows: Sequence[PointRow], path: Path) -> None:
    """Raise DataError for points that are not those of the record, twice there, outside or moved."""
    known = {point.id: point for point in record.points}
    grid = record.grid.grid()
    check_same_crs(record.grid.crs, rows, path)
    seen: set[tuple[int, str]] = set()
    for row in rows:
        key = (row.point_id, row.interpreter)
        if key in seen:
            raise DataError(f"{path}: point {row.point_id} occurs twice; remove one of the rows")
        seen.add(key)
        col, line = (~grid.transform) @ (row.x, row.y)
        if not (0 <= col <= grid.width and 0 <= line <= grid.height):
            raise DataError(
                f"{path}: point {row.point_id} at {row.x:g}, {row.y:g} lies outside the map; restore the coordinates "
                "that the sample was written with"
            )
        if row.point_id not in known:
            raise DataError(f"{path}: point {row.point_id} is not one of the {len(known)} points of the sample")
        point = known[row.point_id]
        if max(abs(col - point.col - 0.5), abs(line - point.row - 0.5)) > _OFF_PX:
            raise DataError(
                f"{path}: point {row.point_id} was moved to {row.x:g}, {row.y:g}; a sample keeps its points where they "
                "were drawn"
            )


def check_same_crs(crs: str | None, rows: Sequence[PointRow], path: Path) -> None:
    """Raise DataError for points whose file states another CRS than the map's; a CSV has the map's coordinates."""
    stated = rows[0].crs if rows else None
    if stated is not None and (crs is None or not _same_crs(stated, crs)):
        raise DataError(f"{path} is in another CRS than the map; save its points in that of the map")


def _same_crs(one: str, two: str) -> bool:
    from rasterio.crs import CRS

    return bool(CRS.from_user_input(one) == CRS.from_user_input(two))


def _interpretations(
    record: SampleRecord, legend: Legend, rows: Sequence[PointRow], path: Path
) -> list[Interpretation]:
    """Return what each interpreter in a file said; none of those without a label."""
    places = {point.id: index for index, point in enumerate(record.points)}
    values = reference_values(rows, legend, path)
    result = []
    names = [row.interpreter.strip() or path.stem for row in rows]
    for name in dict.fromkeys(names):
        reference, confidence = np.zeros(len(places), np.uint8), np.zeros(len(places), np.uint8)
        comments = {}
        for row, value, author in zip(rows, values, names, strict=True):
            if author == name and value != UNLABELED:
                place = places[row.point_id]
                reference[place], confidence[place] = value, _confidence(row, path)
                if row.comment:
                    comments[place] = row.comment
        if reference.any():
            result.append(Interpretation(name, path, reference, confidence, comments))
    return result


def _confidence(row: PointRow, path: Path) -> int:
    text = row.confidence.strip().casefold()
    if text not in CONFIDENCES:
        raise DataError(
            f"{path}: the confidence {row.confidence!r} of point {row.point_id} is none of "
            f"{', '.join(CONFIDENCES[1:])}; correct it or leave it empty"
        )
    return CONFIDENCES.index(text)
