"""What Codabench demands of a bundle, as its unpacker and its forms do; checked before a bundle is handed out.

Source: codalab/codabench, commit c7dbc75 of March 2026: ``src/apps/competitions/unpackers``, ``src/apps/api/serializers``,
``src/apps/leaderboards/models.py``, ``compute_worker/compute_worker.py``. Only rules were taken.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from c2seg.challenge.codabench.competition import COMPETITION_FILE
from c2seg.errors import DataError

__all__ = ["bundle_faults", "check_bundle"]

_SUBMISSION_RULES = {
    "Add", "Add_And_Delete", "Add_And_Delete_Multiple", "Force_Last", "Force_Latest_Multiple", "Force_Best",
}  # fmt: skip
_COMPUTATIONS = {"sum", "avg", "min", "max"}
_TASK_FILES = ("scoring_program", "ingestion_program", "input_data", "reference_data")


def check_bundle(path: Path) -> None:
    """Raise DataError with the first rule that a bundle breaks."""
    for fault in bundle_faults(path):
        raise DataError(f"{path.name}: Codabench would refuse it: {fault}")


def bundle_faults(path: Path) -> Iterator[str]:
    """Yield what Codabench would refuse in a bundle."""
    with zipfile.ZipFile(path) as bundle:
        names = set(bundle.namelist())
        if COMPETITION_FILE not in names:
            yield f"{COMPETITION_FILE} is not at the top of the archive"
            return
        content = yaml.safe_load(bundle.read(COMPETITION_FILE))
        if str(content.get("version", "1")) != "2":
            yield "version must be 2"
        yield from _texts(content, names, bundle.read)
        yield from _tasks(content, names, bundle.read)
        yield from _stages(content, names)
        yield from _leaderboards(content)


def _texts(content: dict[str, Any], names: set[str], read: Callable[[str], bytes]) -> Iterator[str]:
    if not content.get("title"):
        yield "the title is missing"
    if content.get("image") not in names:
        yield f"the image {content.get('image')} is missing"
    pages = [(page.get("title"), page.get("file")) for page in content.get("pages") or ()]
    for title, file in [*pages, ("terms", content.get("terms"))]:
        if file not in names:
            yield f"the page {file} is missing"
        elif not read(str(file)).strip():
            yield f"the page {file} is empty"
        if not title:
            yield f"the page {file} has no title"


def _tasks(content: dict[str, Any], names: set[str], read: Callable[[str], bytes]) -> Iterator[str]:
    tasks = content.get("tasks")
    if not tasks:
        yield "there is no task"
        return
    indexes = [task.get("index") for task in tasks]
    if None in indexes or len(set(indexes)) < len(indexes):
        yield "tasks need an index each, all different"
    for task in tasks:
        if "scoring_program" not in task:
            yield f"task {task.get('name')} has no scoring program"
        for kind in _TASK_FILES:
            if kind in task and task[kind] not in names:
                yield f"{kind} {task[kind]} is missing"
        yield from _program(task.get("scoring_program"), names, read)
    for solution in content.get("solutions") or ():
        if solution.get("path") not in names or not set(solution.get("tasks") or ()) <= set(indexes):
            yield f"the solution {solution.get('path')} is missing, or names tasks that are not there"


def _program(name: str | None, names: set[str], read: Callable[[str], bytes]) -> Iterator[str]:
    """Check what the worker needs of a program: an archive with ``metadata.yaml`` and a command in it."""
    if name not in names:
        return
    try:
        with zipfile.ZipFile(io.BytesIO(read(str(name)))) as program:
            metadata = yaml.safe_load(program.read("metadata.yaml"))
    except (zipfile.BadZipFile, KeyError, yaml.YAMLError):
        metadata = None
    if not isinstance(metadata, dict) or not metadata.get("command"):
        yield f"{name} is no archive with a command in its metadata.yaml"


def _stages(content: dict[str, Any], names: set[str]) -> Iterator[str]:
    stages = sorted(content.get("phases") or (), key=lambda stage: stage.get("index", 0))
    if not stages:
        yield "there is no phase"
    known = {task.get("index") for task in content.get("tasks") or ()}
    for stage in stages:
        if not stage.get("tasks") or not set(stage["tasks"]) <= known:
            yield f"phase {stage.get('name')} has no task, or one that is not there"
        for kind in ("starting_kit", "public_data"):
            if kind in stage and stage[kind] not in names:
                yield f"{kind} {stage[kind]} is missing"
        for bound in ("start", "end"):
            if not isinstance(stage.get(bound, ""), str):
                yield f"phase {stage.get('name')}: {bound} must be a text, or its hours are lost"
    if stages and stages[0].get("auto_migrate_to_this_phase"):
        yield "entries cannot migrate to the first phase"
    for first, second in pairwise(stages):
        if not first.get("end") or _moment(second["start"]) <= _moment(first["end"]):
            yield f"phase {second.get('name')} must start after the end of {first.get('name')}"


def _leaderboards(content: dict[str, Any]) -> Iterator[str]:
    boards = content.get("leaderboards")
    if not boards:
        yield "there is no leaderboard"
        return
    if len(boards) > 1:
        yield "only the first leaderboard is used"
    board = boards[0]
    if not 0 < len(str(board.get("title", ""))) <= 64 or not 0 < len(str(board.get("key", ""))) <= 36:
        yield "a leaderboard has a title of up to 64 characters and a key of up to 36"
    if board.get("submission_rule", "Add") not in _SUBMISSION_RULES:
        yield f"submission_rule {board.get('submission_rule')} is unknown"
    columns = board.get("columns") or ()
    if not columns:
        yield "a leaderboard needs a column"
    for what in ("key", "index"):
        if len({column.get(what) for column in columns}) < len(columns):
            yield f"columns need different values of {what}"
    for column in columns:
        yield from _column(column)


def _column(column: dict[str, Any]) -> Iterator[str]:
    if not all(0 < len(str(column.get(what, ""))) <= 36 for what in ("title", "key")):
        yield f"column {column.get('key')}: title and key have 1 to 36 characters"
    if column.get("sorting", "desc") not in {"asc", "desc"}:
        yield f"column {column.get('key')}: sorting is asc or desc"
    if ("computation" in column) != ("computation_indexes" in column):
        yield f"column {column.get('key')}: computation and computation_indexes stand together"
    if column.get("computation", "sum") not in _COMPUTATIONS:
        yield f"column {column.get('key')}: computation is one of {', '.join(sorted(_COMPUTATIONS))}"


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(str(text))
