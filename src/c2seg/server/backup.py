"""Backup: everything of a season in one zip, taken while the server runs, from any database and into any other.

The zip holds ``manifest.json``, the rows of every table as lines of JSON in ``tables/``, the archives by digest, the texts of
the organizers, and the key of cookies. It holds the ground truth: it is for its owner alone.
"""

from __future__ import annotations

import base64
import json
import os
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Table, select
from sqlalchemy.orm import Session

from c2seg._version import __version__
from c2seg.checksums import checksum
from c2seg.outputs import Output, check_outputs, commit
from c2seg.progress import Progress, no_progress
from c2seg.records import Artifact, Record
from c2seg.server.archives import Archives
from c2seg.server.audit import note
from c2seg.server.database import Database
from c2seg.server.folder import ServerFolder
from c2seg.server.migrating import head
from c2seg.server.tables import Archive as ArchiveRow
from c2seg.server.tables import Base
from c2seg.server.tables import Worker as WorkerRow

__all__ = ["MANIFEST", "BackupManifest", "TableFacts", "back_up", "tables_in_order"]

MANIFEST = "manifest.json"
PAGE = 500
"""Rows that are held in memory at a time."""


class TableFacts(Record):
    """A table in a backup: its rows, and the CRC-32 of its lines."""

    rows: int
    checksum: int


class BackupManifest(Artifact):
    """``manifest.json`` of a backup."""

    artifact: Literal["server-backup"] = "server-backup"
    made_at: str
    c2seg: str
    revision: str
    tables: dict[str, TableFacts]
    archives: tuple[str, ...]
    pages: tuple[str, ...]


def back_up(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> BackupManifest:
    """Write a backup of one moment. Entries that come in meanwhile are not in it. Raises OutputError, DataError."""
    folder = ServerFolder.open(Path(data))
    output = Output(Path(out), suffixes=(".zip",))
    check_outputs([output], [folder.path], overwrite=overwrite)
    database = Database(folder.database_url)
    try:
        database.check_revision()
        with (
            commit(overwrite=overwrite) as files,
            zipfile.ZipFile(files.add(output, private=True), "w", zipfile.ZIP_DEFLATED) as zipped,
        ):
            manifest = _write(zipped, database, folder, progress)
        with database.write() as session:
            note(session, "command line", "back up", "season", datetime.now(UTC), archives=len(manifest.archives))
    finally:
        database.close()
    return manifest


def _write(zipped: zipfile.ZipFile, database: Database, folder: ServerFolder, progress: Progress) -> BackupManifest:
    with database.read() as session:
        tables = {table.name: _write_table(zipped, session, table) for table in tables_in_order()}
        digests = sorted(set(session.scalars(select(ArchiveRow.sha256))))
    store = Archives(folder.archives)
    for done, digest in enumerate(digests):
        zipped.write(store.check(digest), f"archives/{digest}", zipfile.ZIP_STORED)
        progress(done + 1, len(digests))
    pages = sorted(path.name for path in folder.pages.iterdir() if path.is_file()) if folder.pages.is_dir() else []
    for name in pages:
        zipped.write(folder.pages / name, f"pages/{name}")
    zipped.writestr("secret", folder.secret())
    manifest = BackupManifest(
        made_at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", c2seg=__version__, revision=head(), tables=tables,
        archives=tuple(digests), pages=tuple(pages),
    )  # fmt: skip
    zipped.writestr(MANIFEST, manifest.as_text())
    return manifest


def _write_table(zipped: zipfile.ZipFile, session: Session, table: Table) -> TableFacts:
    rows, digest = 0, 0
    with zipped.open(f"tables/{table.name}.jsonl", "w", force_zip64=True) as stream:
        for row in session.execute(select(table).order_by(*table.primary_key.columns)).yield_per(PAGE).mappings():
            line = json.dumps({key: _plain(value) for key, value in row.items()}).encode() + b"\n"
            stream.write(line)
            rows, digest = rows + 1, checksum(line, digest)
    return TableFacts(rows=rows, checksum=digest)


def tables_in_order() -> list[Table]:
    """Return the tables in an order in which rows may be added. Workers are no part of a season."""
    return [table for table in Base.metadata.sorted_tables if table.name != WorkerRow.__tablename__]


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    return {"time": value.isoformat()} if isinstance(value, datetime) else value
