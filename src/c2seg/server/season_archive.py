"""The record of a season for others: boards, histories, rules and texts in one zip, without ground truth, token or contact."""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from c2seg._version import __version__
from c2seg.challenge.publish import board_csv
from c2seg.outputs import Output, check_outputs, commit
from c2seg.records import Artifact, Record
from c2seg.server.service import Service, open_service
from c2seg.server.views import AuditLine, Board, Challenge, Phase

__all__ = ["SeasonRecord", "archive_season"]


class PhaseRecord(Record):
    """A phase. ``board`` is the name of its table in the zip; None where it was hidden."""

    name: str
    opens_at: str
    closes_at: str | None
    part: str
    late: bool
    daily_quota: int
    total_quota: int
    board: str | None
    history: str | None


class SeasonRecord(Artifact):
    """``season.json`` in the archive of a season. ``private``: with what only organizers see."""

    artifact: Literal["season"] = "season"
    title: str
    counting: str
    created_at: str
    closed_at: str | None
    archived_at: str
    c2seg: str
    private: bool
    datasets: dict[str, int]
    """Tiles by data set."""
    phases: tuple[PhaseRecord, ...]
    teams: int
    entries: int


def archive_season(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    private: bool = False,
    overwrite: bool = False,
) -> SeasonRecord:
    """Write the record of a season: ``season.json``, boards and histories as CSV and JSON, and the organizers' texts.

    Boards that are hidden or under the embargo are left out, unless ``private``, which adds the audit log, too. Raises
    OutputError, DataError.
    """
    output = Output(Path(out), suffixes=(".zip",))
    check_outputs([output], [Path(data)], overwrite=overwrite)
    with open_service(data) as service:
        with (
            commit(overwrite=overwrite) as files,
            zipfile.ZipFile(files.add(output, private=private), "w", zipfile.ZIP_DEFLATED) as zipped,
        ):
            record = _write(zipped, service, private=private)
        service.note("command line", "archive season", "season", private=str(private))
    return record


def _write(zipped: zipfile.ZipFile, service: Service, *, private: bool) -> SeasonRecord:
    challenge = service.challenge()
    phases = tuple(_phase(zipped, service, phase, private=private) for phase in challenge.phases)
    if service.folder.pages.is_dir():
        for path in sorted(service.folder.pages.iterdir()):
            if path.is_file():
                zipped.write(path, f"pages/{path.name}")
    if private:
        zipped.writestr("audit.csv", _audit_csv(_whole_audit(service)))
    record = _record(challenge, phases, service, private=private)
    zipped.writestr("season.json", record.as_text())
    return record


def _phase(zipped: zipfile.ZipFile, service: Service, phase: Phase, *, private: bool) -> PhaseRecord:
    names = {}
    for kind, read in (("board", service.board), ("history", service.history)):
        table = read(phase.id, private=private)
        names[kind] = None if table is None else _table(zipped, f"{kind}-{phase.id}", table)
    return PhaseRecord(
        name=phase.name, opens_at=_time(phase.opens_at), closes_at=_time(phase.closes_at) if phase.closes_at else None,
        part=phase.part, late=phase.late, daily_quota=phase.daily_quota, total_quota=phase.total_quota, **names,
    )  # fmt: skip


def _table(zipped: zipfile.ZipFile, name: str, table: Board) -> str:
    zipped.writestr(f"{name}.csv", board_csv(table.rows, table.datasets))
    zipped.writestr(f"{name}.json", json.dumps([row.as_dict() for row in table.rows], indent=1) + "\n")
    return f"{name}.csv"


def _record(challenge: Challenge, phases: tuple[PhaseRecord, ...], service: Service, *, private: bool) -> SeasonRecord:
    season = challenge.season
    return SeasonRecord(
        title=season.title, counting=season.counting, created_at=_time(season.created_at),
        closed_at=_time(season.closed_at) if season.closed_at else None, archived_at=_time(datetime.now(UTC)),
        c2seg=__version__, private=private,
        datasets={item.name: len(item.tile_set.sizes) for item in challenge.datasets}, phases=phases,
        teams=len(service.teams()), entries=service.entry_count(),
    )  # fmt: skip


def _whole_audit(service: Service) -> Iterable[AuditLine]:
    """Yield every line of the log, the newest first."""
    lines = service.audit(limit=1000)
    while lines:
        yield from lines
        lines = service.audit(limit=1000, before=lines[-1].id)


def _audit_csv(lines: Iterable[AuditLine]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["id", "at", "actor", "action", "subject", "details"])
    for line in lines:
        details = json.dumps(dict(line.details), sort_keys=True)
        writer.writerow([line.id, _time(line.at), line.actor, line.action, line.subject, details])
    return stream.getvalue()


def _time(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"
