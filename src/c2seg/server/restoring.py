"""Restore: a new data folder from a backup, in any database."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Table, func, insert, select, update
from sqlalchemy.orm import Session

from c2seg.checksums import checksum
from c2seg.errors import DataError
from c2seg.outputs import Output, check_outputs, commit
from c2seg.progress import Progress, no_progress
from c2seg.server.archives import Archives
from c2seg.server.audit import note
from c2seg.server.backup import MANIFEST, PAGE, BackupManifest, TableFacts, tables_in_order
from c2seg.server.creating import new_database
from c2seg.server.database import check_url
from c2seg.server.folder import SECRET_BYTES, ServerFolder
from c2seg.server.migrating import head
from c2seg.server.tables import Entry

__all__ = ["restore"]

_LONGEST_LINE = 64 << 20
_MANIFEST_BYTES = 256 << 20


def restore(
    backup: str | os.PathLike[str],
    data: str | os.PathLike[str],
    *,
    database: str | None = None,
    progress: Progress = no_progress,
) -> BackupManifest:
    """Make a new data folder of a backup, whole or not at all; ``database`` as in ``create_season``.

    Everything is checked against the checksums and digests of the backup. Entries that were being scored wait again. Raises
    DataError for what is no backup, is damaged or of another revision of the tables; OutputError if the folder exists.
    """
    url = None if database is None else check_url(database)
    source, out = Path(backup), Output(Path(data), "data", is_folder=True)
    check_outputs([out], [source], overwrite=False)
    with _opened(source) as zipped:
        manifest = _manifest(zipped, source)
        with commit(overwrite=False) as files:
            folder = ServerFolder.make(files.add(out, private=True), url, _member(zipped, "secret", SECRET_BYTES))
            _restore_files(zipped, manifest, folder, progress)
            with new_database(folder) as opened, opened.write() as session:
                _restore_tables(zipped, manifest, session)
    return manifest


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except OSError as error:
        raise DataError(f"cannot read the backup {path}: {error.strerror}") from None
    except zipfile.BadZipFile:
        raise DataError(f"{path} is no backup of a season, or is damaged") from None


def _manifest(zipped: zipfile.ZipFile, path: Path) -> BackupManifest:
    content = json.loads(_member(zipped, MANIFEST, _MANIFEST_BYTES))
    manifest = BackupManifest.parse(content, f"{path} ({MANIFEST})")
    if manifest.revision != head():
        raise DataError(
            f"{path} is of revision {manifest.revision} of the tables, this c2seg has {head()}; restore it with c2seg "
            f"{manifest.c2seg}, then upgrade"
        )
    return manifest


def _member(zipped: zipfile.ZipFile, name: str, limit: int) -> bytes:
    try:
        with zipped.open(name) as stream:
            content = stream.read(limit + 1)
    except (KeyError, zipfile.BadZipFile, EOFError):
        raise DataError(f"the backup is damaged: {name} is missing or broken") from None
    if len(content) > limit:
        raise DataError(f"the backup is damaged: {name} is too large")
    return content


def _restore_files(zipped: zipfile.ZipFile, manifest: BackupManifest, folder: ServerFolder, progress: Progress) -> None:
    store = Archives(folder.archives)
    for done, digest in enumerate(manifest.archives):
        place = store.path(digest)
        place.parent.mkdir(mode=0o700, exist_ok=True)
        if _copy(zipped, f"archives/{digest}", place) != digest:
            raise DataError(f"the backup is damaged: the archive {digest[:12]} was changed")
        progress(done + 1, len(manifest.archives))
    for name in manifest.pages:
        if Path(name).name != name:
            raise DataError(f"the backup is damaged: {ascii(name)[:80]} is no file name")
        _copy(zipped, f"pages/{name}", folder.pages / name)


def _copy(zipped: zipfile.ZipFile, name: str, place: Path) -> str:
    """Copy a file out of a zip, and return its SHA-256."""
    digest = hashlib.sha256()
    try:
        with zipped.open(name) as stream, place.open("xb") as file:
            while block := stream.read(1 << 20):
                digest.update(block)
                file.write(block)
    except (KeyError, zipfile.BadZipFile, EOFError):
        raise DataError(f"the backup is damaged: {name} is missing or broken") from None
    return digest.hexdigest()


def _restore_tables(zipped: zipfile.ZipFile, manifest: BackupManifest, session: Session) -> None:
    for table in tables_in_order():
        facts = manifest.tables.get(table.name)
        if facts is None:
            raise DataError(f"the backup is damaged: it has no table {table.name}")
        page: list[dict[str, Any]] = []
        for row in _rows(zipped, table, facts):
            page.append(row)
            if len(page) == PAGE:
                session.execute(insert(table), page)
                page = []
        if page:
            session.execute(insert(table), page)
        _continue_ids(session, table)
    session.execute(update(Entry).where(Entry.status == "scoring").values(status="queued"))
    note(session, "command line", "restore", "season", datetime.now(UTC), backup_of=manifest.made_at)


def _rows(zipped: zipfile.ZipFile, table: Table, facts: TableFacts) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table. Raises DataError at the end if they are not those that were written."""
    rows, digest = 0, 0
    name = f"tables/{table.name}.jsonl"
    try:
        with zipped.open(name) as stream:
            while line := stream.readline(_LONGEST_LINE):
                rows, digest = rows + 1, checksum(line, digest)
                yield {key: _value(value) for key, value in json.loads(line).items()}
    except (KeyError, ValueError, zipfile.BadZipFile, EOFError):
        raise DataError(f"the backup is damaged: {name} is missing or broken") from None
    if (rows, digest) != (facts.rows, facts.checksum):
        raise DataError(f"the backup is damaged: {name} was changed")


def _continue_ids(session: Session, table: Table) -> None:
    """Let new rows in PostgreSQL have ids after those that were restored; SQLite sees to that itself."""
    keys = list(table.primary_key.columns)
    connection = session.connection()
    if connection.dialect.name != "postgresql" or len(keys) != 1:
        return
    sequence = session.scalar(select(func.pg_get_serial_sequence(table.name, keys[0].name)))
    if sequence is not None:
        session.execute(
            select(func.setval(sequence, select(func.coalesce(func.max(keys[0]), 0) + 1).scalar_subquery(), False))
        )


def _value(plain: Any) -> Any:
    if not isinstance(plain, dict):
        return plain
    return base64.b64decode(plain["base64"]) if "base64" in plain else datetime.fromisoformat(plain["time"])
