"""Many cities predicted with one model: a list in, one map each, one table."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from c2seg.artifacts import MapRecord, ModelFile
from c2seg.artifacts.maps import CleanupSettings
from c2seg.data import City
from c2seg.data.city_lists import CityEntry
from c2seg.errors import C2SegError, one_line
from c2seg.outputs import Output, check_outputs, make_folder, write_text
from c2seg.raster import mosaic_groups, mosaic_text

__all__ = ["CitiesResult", "map_place", "predict_cities", "standing_maps"]

TABLE = "cities.csv"


@dataclass(frozen=True)
class CitiesResult:
    """What became of a list: a map for each city that could be predicted, and in one line why others could not."""

    maps: dict[str, tuple[MapRecord, ...]]
    failed: dict[str, str]
    table: Path


def predict_cities(
    entries: Sequence[CityEntry],
    out: Path,
    predict: Callable[[Path, Path], Sequence[MapRecord]],
    standing: Callable[[Path, Path], Sequence[MapRecord] | None],
) -> CitiesResult:
    """Predict cities one after the other into a folder; a city that fails does not stop the others.

    ``predict(city, place)`` writes the map of a city at ``place``, which has no suffix; ``standing`` returns the records of one
    whose map stands from an earlier run, and is not predicted again. The table ``cities.csv`` has a row for each city. Raises
    OutputError.
    """
    check_outputs([Output(out, is_folder=True)], overwrite=True)
    make_folder(out)
    maps: dict[str, tuple[MapRecord, ...]] = {}
    failed: dict[str, str] = {}
    for entry in entries:
        try:
            place = out / entry.name
            maps[entry.name] = tuple(standing(entry.path, place) or predict(entry.path, place))
        except C2SegError as error:
            failed[entry.name] = one_line(error)
    write_text(out / TABLE, _table(entries, maps, failed))
    _write_indexes(out, maps)
    return CitiesResult(maps, failed, out / TABLE)


def _write_indexes(out: Path, maps: dict[str, tuple[MapRecord, ...]]) -> None:
    files = []
    for name, records in maps.items():
        folder = out / name  # of a city with several scenes
        files += [folder / record.path if folder.is_dir() else out / record.path for record in records]
    for number, group in enumerate(mosaic_groups(files)):
        write_text(out / ("index.vrt" if number == 0 else f"index-{number + 1}.vrt"), mosaic_text(group, out))


def map_place(city: City, place: Path) -> Path:
    """Return the map of a city at ``place`` in a folder of maps: a GeoTIFF, or a folder for several scenes."""
    return place if len(city.scenes) > 1 else place.with_name(f"{place.name}.tif")


def standing_maps(
    model: ModelFile,
    city: City,
    place: Path,
    *,
    tta: bool,
    precision: str,
    decision: str,
    cleanup: CleanupSettings | None,
) -> list[MapRecord] | None:
    """Return the records of a city's maps if all stand as this model would make them; ``city`` has the model's bands."""
    out = map_place(city, place)
    files = [out] if len(city.scenes) == 1 else [out / f"{scene.name}.tif" for scene in city.scenes]
    expected = (model.digest, city.fingerprint(), tta, precision, cleanup, decision)
    records = []
    for file in files:
        try:
            record = MapRecord.read(file.with_suffix(".json"))
        except C2SegError:
            return None
        key = record.key
        if not file.is_file() or key is None:
            return None
        decided = (record.run.decision if record.run else None) or model.header.recipe.prediction.decision
        if (key.model, key.city, key.tta, key.precision, key.cleanup, decided) != expected:
            return None
        records.append(record)
    return records


def _table(entries: Sequence[CityEntry], maps: dict[str, tuple[MapRecord, ...]], failed: dict[str, str]) -> str:
    """Return a row for each city: pixels, seconds, km2 by class (pixels where the map has no CRS), what went wrong."""
    classes = list(
        dict.fromkeys(name for records in maps.values() for record in records for name in record.class_pixels)
    )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "map", "unit", "pixels", "nodata_pixels", "seconds", *classes, "error"])
    for entry in entries:
        for record in maps.get(entry.name, ()):
            areas = record.area_km2 or record.class_pixels
            unit = "km2" if record.area_km2 else "pixels"
            amounts = [areas.get(name, "") for name in classes]
            writer.writerow(
                [entry.name, record.path, unit, record.pixels, record.nodata_pixels, record.seconds, *amounts, ""]
            )
        if entry.name in failed:
            writer.writerow([entry.name, *[""] * (5 + len(classes)), failed[entry.name]])
    return text.getvalue()
