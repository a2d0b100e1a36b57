"""What lies in a run folder: the record of learning, the recipe, curves, validation, maps, and scores of maps.

A map belongs to a run when it lies in its folder (or one folder below) with the JSON that ``c2seg predict`` leaves
beside it. A map elsewhere is given by its file, and joins the run whose record its JSON carries.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from c2seg.data.city import blocks
from c2seg.errors import C2SegError, DataError, InputError
from c2seg.metrics import Confusion
from c2seg.raster import RasterFile

__all__ = ["Curves", "MapFile", "Run", "ScoreFile", "distinct_names", "open_runs"]

_MODEL_PARTS = ("record.json", "validation.json", "curves.csv", "recipe.yaml")


@dataclass(frozen=True)
class MapFile:
    """A map of class ids, what is known of it (the JSON beside it; empty if there is none), and its confidence."""

    path: Path
    raster: RasterFile
    notes: Mapping[str, Any]
    confidence: Path | None

    @property
    def city(self) -> str:
        """Name of the mapped city; the file's stem where it is not recorded."""
        city = self.notes.get("city")
        return str(city["name"]) if isinstance(city, dict) and "name" in city else self.path.stem

    @property
    def city_path(self) -> Path | None:
        """Where the city was when it was mapped, if recorded."""
        city = self.notes.get("city")
        return Path(str(city["path"])) if isinstance(city, dict) and "path" in city else None

    @property
    def scene(self) -> str | None:
        """Name of the mapped scene, if recorded."""
        key = self.notes.get("key")
        return str(key["scene"]) if isinstance(key, dict) and "scene" in key else None

    def count_ids(self) -> np.ndarray:
        """Return int64 [256]: pixels by id, read by strips."""
        counts = np.zeros(256, np.int64)
        for window in blocks(self.raster.grid.window, 2048):
            values = self.raster.read(window)[0]
            counts += np.bincount(values[(values >= 0) & (values <= 255)].astype(np.uint8).ravel(), minlength=256)
        return counts

    @property
    def fingerprint(self) -> str | None:
        """Fingerprint of the mapped city, if recorded."""
        key = self.notes.get("key")
        return str(key["city"]) if isinstance(key, dict) and "city" in key else None


@dataclass(frozen=True)
class ScoreFile:
    """Scores that ``c2seg score --out`` left in the run folder: confusion counts of the named map."""

    path: Path
    prediction: str
    confusion: Confusion
    names: Mapping[int, str]


@dataclass(frozen=True)
class Curves:
    """The training curves: a value by column and logged step; NaN where a cell is empty or unreadable."""

    steps: tuple[float, ...]
    columns: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class Run:
    """One run. ``record`` and ``validation`` are the parsed files, empty where there are none."""

    name: str
    folder: Path | None
    record: Mapping[str, Any] = field(default_factory=dict)
    recipe: str = ""
    validation: Mapping[str, Any] = field(default_factory=dict)
    curves: Curves | None = None
    maps: tuple[MapFile, ...] = ()
    scores: tuple[ScoreFile, ...] = ()

    @property
    def recipe_name(self) -> str:
        """Name of the recipe, as far as it is known."""
        notes = self.maps[0].notes if self.maps else {}
        return str(self.record.get("recipe") or notes.get("recipe") or "")


def open_runs(paths: Sequence[Path]) -> list[Run]:
    """Open run folders and single maps, in the order given, under names that differ.

    Raises InputError for a path that is neither, DataError for a damaged file.
    """
    if not paths:
        raise InputError("no run; give at least one run folder")
    runs: list[Run] = []
    for path in dict.fromkeys(path.resolve() for path in paths):
        if path.is_dir():
            runs.append(_run(path))
        elif path.is_file():
            _join(runs, path)
        else:
            raise InputError(f"{path} does not exist; give a run folder of c2seg fit, or a map")
    return _distinct(runs)


def _run(folder: Path) -> Run:
    files = sorted(p for pattern in ("*.json", "*/*.json") for p in folder.glob(pattern) if not p.name.startswith("."))
    found = {path: _json(path) for path in files}
    maps = tuple(m for path, content in found.items() if (m := _map_beside(path, content)))
    scored = tuple(s for path, content in found.items() if (s := _score_file(path, content)))
    if not maps and not scored and not any((folder / name).is_file() for name in _MODEL_PARTS):
        raise InputError(
            f"{folder} is not a run folder: none of {', '.join(_MODEL_PARTS)} and no map; give the folder of c2seg fit"
        )
    return Run(
        name=folder.name,
        folder=folder,
        record=found.get(folder / "record.json", {}),
        recipe=_text(folder / "recipe.yaml"),
        validation=_validation(folder / "validation.json", found),
        curves=_curves(folder / "curves.csv"),
        maps=maps,
        scores=scored,
    )


def _join(runs: list[Run], path: Path) -> None:
    """Add a single map to the run that learnt its model, or as a run of its own."""
    beside = path.with_suffix(".json")
    content = _json(beside) if beside.is_file() else {}
    entry = (_map_beside(beside, content) if content else None) or MapFile(path, RasterFile(path), {}, None)
    if entry.path != path:
        entry = MapFile(path, RasterFile(path), {}, None)
    learnt = content.get("run", {}).get("learnt") if isinstance(content.get("run"), dict) else None
    for index, run in enumerate(runs):
        if learnt and {k: v for k, v in run.record.items() if k != "seconds"} == learnt:
            if path not in [m.path for m in run.maps]:
                runs[index] = replace(run, maps=(*run.maps, entry))
            return
    runs.append(Run(name=path.stem, folder=None, record=learnt or {}, maps=(entry,)))


def _map_beside(path: Path, content: Mapping[str, Any]) -> MapFile | None:
    """Return the map that a JSON file describes; None if it describes none, or the map is gone."""
    if not isinstance(content.get("area_km2"), dict) or not isinstance(content.get("path"), str):
        return None
    file = path.parent / Path(content["path"]).name
    if not file.is_file():
        return None
    name = content.get("confidence")
    confidence = path.parent / name if isinstance(name, str) else None
    return MapFile(file, RasterFile(file), content, confidence if confidence and confidence.is_file() else None)


def _score_file(path: Path, content: Mapping[str, Any]) -> ScoreFile | None:
    if "confusion" not in content or "prediction" not in content:
        return None
    try:
        confusion = Confusion.from_dict(content["confusion"])
        names = {int(c["id"]): str(c["name"]) for c in content.get("classes", [])}
    except (C2SegError, TypeError, KeyError, ValueError) as error:
        raise DataError(f"{path} holds no scores that can be read: {error}") from error
    return ScoreFile(path, str(content["prediction"]), confusion, names)


def _validation(path: Path, found: Mapping[Path, Mapping[str, Any]]) -> Mapping[str, Any]:
    content = found.get(path, {})
    if not content:
        return {}
    try:
        confusion = Confusion.from_dict(content)
    except C2SegError as error:
        raise DataError(f"{path}: {error}") from error
    return {"kind": str(content.get("kind", "validation")), "confusion": confusion}


def _curves(path: Path) -> Curves | None:
    """Read curves.csv; rows that are cut short (a killed run) are left out."""
    if not path.is_file():
        return None
    rows = list(csv.reader(_text(path).splitlines()))
    if not rows or "step" not in rows[0]:
        raise DataError(f"{path} has no column `step`; it is not the curves.csv of a run")
    header = rows[0]
    values = [[_number(cell) for cell in row] for row in rows[1:] if len(row) == len(header)]
    columns = dict(zip(header, zip(*values, strict=True), strict=True)) if values else dict.fromkeys(header, ())
    steps = columns.pop("step")
    known = [k for k, step in enumerate(steps) if math.isfinite(step)]
    if not known:
        return None
    return Curves(tuple(steps[k] for k in known), {n: tuple(c[k] for k in known) for n, c in columns.items()})


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged: {error}; remove it or make it again") from error
    return content if isinstance(content, dict) else {}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}") from error


def _distinct(runs: Sequence[Run]) -> list[Run]:
    names = distinct_names([(run.name, run.folder or run.maps[0].path) for run in runs])
    if len({run.name for run in runs}) == 1 and all(name.endswith(f"/{runs[0].name}") for name in names):
        names = [name.removesuffix(f"/{runs[0].name}") for name in names]  # what all are called tells nothing
    return [replace(run, name=name) for run, name in zip(runs, names, strict=True)]


def distinct_names(places: Sequence[tuple[str, Path]]) -> list[str]:
    """Put as many parent folders of a place before its name as tell it from the others, and a number behind names that still
    occur twice.
    """
    names = [name for name, _ in places]
    for depth in range(1, max((len(place.parts) for _, place in places), default=0) - 1):
        twice = {name for name in names if names.count(name) > 1}
        names = [
            "/".join([*place.parts[1:-1][-depth:], plain]) if name in twice else name
            for name, (plain, place) in zip(names, places, strict=True)
        ]
    return [f"{name} ({names[: k + 1].count(name)})" if names.count(name) > 1 else name for k, name in enumerate(names)]
