"""What lies in a run folder: the record of training, the recipe, curves, validation, maps, and scores of maps.

A map belongs to a run when it lies in its folder (or one folder below) with the JSON that ``c2seg predict`` writes
beside it. A map elsewhere is given by its file, and joins the run whose id its JSON carries.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from c2seg.artifacts import MapRecord, RunProvenance, RunRecord, ScoreRecord, ValidationRecord
from c2seg.artifacts.upgrade import artifact_of
from c2seg.data.city import blocks
from c2seg.documents import read_json, read_text
from c2seg.errors import DataError, InputError
from c2seg.raster import RasterFile
from c2seg.records import Json

__all__ = ["Curves", "MapFile", "Run", "distinct_names", "open_runs"]

_MODEL_PARTS = ("record.json", "validation.json", "curves.csv", "recipe.yaml")
_TEXT_BYTES = 64 << 20
"""Of curves and recipes."""


@dataclass(frozen=True)
class MapFile:
    """A map of class ids, its record (None: no JSON beside it), and its confidence."""

    path: Path
    raster: RasterFile
    record: MapRecord | None
    confidence: Path | None
    runner_up: Path | None = None
    """The runner-up class and the margin over it."""

    @property
    def city(self) -> str:
        """Name of the predicted city; the file's stem where it is not recorded."""
        return self.record.city.name if self.record and self.record.city else self.path.stem

    @property
    def city_path(self) -> Path | None:
        """Where the city was at prediction time, if recorded."""
        return (self.path.parent / self.record.city.path).resolve() if self.record and self.record.city else None

    @property
    def scene(self) -> str | None:
        """Name of the predicted scene, if recorded."""
        return self.record.key.scene if self.record and self.record.key else None

    @property
    def fingerprint(self) -> str | None:
        """Fingerprint of the predicted city, if recorded."""
        return self.record.key.city if self.record and self.record.key else None

    @property
    def trained(self) -> RunProvenance | None:
        """The run that trained the map's model, if recorded."""
        return self.record.run.trained if self.record and self.record.run else None

    @property
    def few_shot(self) -> bool:
        """True if a model behind the map was trained on labels of a target."""
        return bool(self.record and self.record.few_shot)

    def count_ids(self) -> np.ndarray:
        """Return int64 [256]: pixels by id, read by strips."""
        counts = np.zeros(256, np.int64)
        for window in blocks(self.raster.grid.window, 2048):
            values = self.raster.read(window)[0]
            counts += np.bincount(values[(values >= 0) & (values <= 255)].astype(np.uint8).ravel(), minlength=256)
        return counts


@dataclass(frozen=True)
class Curves:
    """The training curves: a value by column and logged step; NaN where a cell is empty or unreadable."""

    steps: tuple[float, ...]
    columns: Mapping[str, tuple[float, ...]]
    stages: tuple[str, ...] = ()
    """The training that each step is of, where a run has several, such as a stage and its networks."""

    def by_stage(self) -> dict[str, Curves]:
        """Return the curves of each stage, its steps counted from its beginning; empty for a run of one."""
        names = list(dict.fromkeys(self.stages))
        result: dict[str, Curves] = {}
        before = 0.0
        for name in names if len(names) > 1 else ():
            rows = [k for k, stage in enumerate(self.stages) if stage == name]
            steps = tuple(self.steps[k] - before for k in rows)
            result[name] = Curves(steps, {key: tuple(v[k] for k in rows) for key, v in self.columns.items()})
            before = self.steps[rows[-1]]
        return result


@dataclass(frozen=True)
class Run:
    """One run: what lies in its folder (None: a single map), and maps that lie elsewhere."""

    name: str
    folder: Path | None
    record: RunRecord | None = None
    recipe: str = ""
    """The resolved recipe as YAML; empty: not there."""
    validation: ValidationRecord | None = None
    curves: Curves | None = None
    maps: tuple[MapFile, ...] = ()
    scores: tuple[ScoreRecord, ...] = ()

    @property
    def provenance(self) -> RunProvenance | None:
        """Where the run comes from: its record, else the records of its maps."""
        return self.record or next((entry.trained for entry in self.maps if entry.trained), None)

    @property
    def few_shot(self) -> bool:
        """True if the run was trained on labels of a target: never listed beside runs that were not."""
        return bool(self.provenance and self.provenance.few_shot) or any(entry.few_shot for entry in self.maps)

    @property
    def recipe_name(self) -> str:
        """Name of the recipe, as far as it is known."""
        if self.provenance:
            return self.provenance.recipe
        return next((m.record.recipe for m in self.maps if m.record and m.record.recipe), "")


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
    objects = {path: content for path in files if (content := _json(path))}
    maps = tuple(m for path, content in objects.items() if (m := _map_beside(path, content)))
    scored = tuple(
        ScoreRecord.parse(content, str(path)) for path, content in objects.items() if artifact_of(content) == "scores"
    )
    if not maps and not scored and not any((folder / name).is_file() for name in _MODEL_PARTS):
        raise InputError(
            f"{folder} is not a run folder: none of {', '.join(_MODEL_PARTS)} and no map; give the folder of c2seg fit"
        )
    record, validation = folder / "record.json", folder / "validation.json"
    return Run(
        name=folder.name,
        folder=folder,
        record=RunRecord.parse(objects[record], str(record)) if record in objects else None,
        recipe=_text(folder / "recipe.yaml"),
        validation=ValidationRecord.parse(objects[validation], str(validation)) if validation in objects else None,
        curves=_curves(folder / "curves.csv"),
        maps=maps,
        scores=scored,
    )


def _join(runs: list[Run], path: Path) -> None:
    """Add a single map to the run that trained its model, or as a run of its own."""
    beside = path.with_suffix(".json")
    entry = _map_beside(beside, _json(beside)) if beside.is_file() else None
    if entry is None or entry.path != path:
        entry = MapFile(path, RasterFile(path), None, None)
    run_id = entry.record.run_id if entry.record else None
    for index, run in enumerate(runs):
        if run_id is not None and run.provenance and run.provenance.run_id == run_id:
            if path not in [m.path for m in run.maps]:
                runs[index] = replace(run, maps=(*run.maps, entry))
            return
    runs.append(Run(name=path.stem, folder=None, maps=(entry,)))


def _map_beside(path: Path, content: Json) -> MapFile | None:
    """Return the map that a JSON file describes; None if it describes none, or the map is gone."""
    if artifact_of(content) != "map":
        return None
    record = MapRecord.parse(content, str(path))
    file = path.parent / Path(record.path).name
    if not file.is_file():
        return None
    confidence, runner_up = (_beside(path, name) for name in (record.confidence, record.runner_up))
    return MapFile(file, RasterFile(file), record, confidence, runner_up)


def _beside(path: Path, name: str | None) -> Path | None:
    place = path.parent / name if name else None
    return place if place and place.is_file() else None


def _curves(path: Path) -> Curves | None:
    """Read curves.csv; rows that are cut short (a killed run) are left out."""
    if not path.is_file():
        return None
    rows = list(csv.reader(_text(path).splitlines()))
    if not rows or "step" not in rows[0]:
        raise DataError(f"{path} has no column `step`; it is not the curves.csv of a run")
    header = rows[0]
    place = header.index("stage") if "stage" in header else None
    stages = [row[place] for row in rows[1:] if len(row) == len(header)] if place is not None else []
    values = [[_number(cell) for cell in row] for row in rows[1:] if len(row) == len(header)]
    columns = dict(zip(header, zip(*values, strict=True), strict=True)) if values else dict.fromkeys(header, ())
    steps = columns.pop("step")
    columns.pop("stage", None)
    known = [k for k, step in enumerate(steps) if math.isfinite(step)]
    if not known:
        return None
    return Curves(
        tuple(steps[k] for k in known),
        {n: tuple(c[k] for k in known) for n, c in columns.items()},
        tuple(stages[k] for k in known) if stages else (),
    )


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _json(path: Path) -> Json:
    """Return a JSON object; an empty one for a file that holds something else."""
    content = read_json(path)
    return content if isinstance(content, dict) else {}


def _text(path: Path) -> str:
    return read_text(path, _TEXT_BYTES) if path.is_file() else ""


def _distinct(runs: Sequence[Run]) -> list[Run]:
    names = distinct_names([(run.name, run.folder or run.maps[0].path) for run in runs])
    if len({run.name for run in runs}) == 1 and all(name.endswith(f"/{runs[0].name}") for name in names):
        names = [name.removesuffix(f"/{runs[0].name}") for name in names]  # a name that all runs share is omitted
    return [replace(run, name=name) for run, name in zip(runs, names, strict=True)]


def distinct_names(places: Sequence[tuple[str, Path]]) -> list[str]:
    """Prefix names with parent folders until they differ, and number those that still occur twice."""
    names = [name for name, _ in places]
    for depth in range(1, max((len(place.parts) for _, place in places), default=0) - 1):
        twice = {name for name in names if names.count(name) > 1}
        names = [
            "/".join([*place.parts[1:-1][-depth:], plain]) if name in twice else name
            for name, (plain, place) in zip(names, places, strict=True)
        ]
    return [f"{name} ({names[: k + 1].count(name)})" if names.count(name) > 1 else name for k, name in enumerate(names)]
