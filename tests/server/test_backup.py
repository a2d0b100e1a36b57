"""Backups move between databases and lose nothing; damaged ones make nothing; the record of a season tells no secret."""

import json
import zipfile
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from c2seg.errors import DataError, OutputError
from c2seg.server import scoring
from c2seg.server.backup import back_up, tables_in_order
from c2seg.server.database import Database
from c2seg.server.migrating import head
from c2seg.server.restoring import restore
from c2seg.server.season_archive import archive_season
from c2seg.server.service import open_service
from c2seg.server.tables import Base
from helpers.postgres import new_database
from helpers.season_make import NOON, Season


def content(service):
    with service.database.read() as session:
        return {
            table.name: session.execute(select(table).order_by(*table.primary_key.columns)).all()
            for table in tables_in_order()
            if table.name not in {"audit"}
        }


@pytest.fixture
def used(small):
    """Return a season with a scored entry, a waiting one and one at work."""
    small.open_phase()
    (small.service.folder.pages / "about.md").write_text("About")
    team, issued = small.service.create_team("Team A", "a@example.org", actor="test")
    small.submit(team, 0.9)
    small.score_all()
    small.submit(team, 0.8)
    small.issued = issued
    return small


def test_a_season_moves_to_postgresql_and_back(used, postgres, tmp_path, maker, confined):
    service = used.service
    before, secret = content(service), service.secret()
    back_up(service.folder.path, tmp_path / "one.zip")
    restore(tmp_path / "one.zip", tmp_path / "moved", database=new_database(postgres))
    with open_service(tmp_path / "moved") as moved:
        assert content(moved) == before
        assert moved.secret() == secret
        assert moved.authenticate(used.issued.text).name == "Team A"
        assert (moved.folder.pages / "about.md").read_text() == "About"
        assert moved.board(1).rows == service.board(1).rows
        season = Season(moved, maker, confined)
        added = season.submit(moved.teams()[0], 0.5)
        assert added.id == 3  # ids continue
        season.score_all()
        assert {entry.status for entry in moved.entries()} == {"scored"}
        moved_content = content(moved)
    back_up(tmp_path / "moved", tmp_path / "two.zip")
    restore(tmp_path / "two.zip", tmp_path / "back")
    with open_service(tmp_path / "back") as back:
        assert content(back) == moved_content


def test_an_entry_at_work_waits_again(used, tmp_path):
    with used.service.database.write() as session:
        assert scoring.claim(session, 2, "w", datetime.now(UTC))
    back_up(used.service.folder.path, tmp_path / "one.zip")
    restore(tmp_path / "one.zip", tmp_path / "again")
    with open_service(tmp_path / "again") as again:
        assert [entry.status for entry in again.entries()] == ["queued", "scored"]
        assert [line.action for line in again.audit(limit=1)] == ["restore"]
    assert used.service.audit(limit=1)[0].action == "back up"


def test_nothing_is_replaced(used, tmp_path):
    back_up(used.service.folder.path, tmp_path / "one.zip")
    with pytest.raises(OutputError, match="exists already"):
        back_up(used.service.folder.path, tmp_path / "one.zip")
    with pytest.raises(OutputError, match="exists already"):
        restore(tmp_path / "one.zip", used.service.folder.path)
    assert (tmp_path / "one.zip").stat().st_mode & 0o077 == 0


def changed(source, out, name, change):
    """Copy a zip with one member changed; None: left out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(out, "w") as new:
        for item in old.namelist():
            data = change(old.read(item)) if item == name else old.read(item)
            if data is not None:
                new.writestr(item, data)


def test_damaged_backups_make_nothing(used, tmp_path, postgres):
    database = new_database(postgres)
    back_up(used.service.folder.path, tmp_path / "one.zip")
    with zipfile.ZipFile(tmp_path / "one.zip") as zipped:
        digest = next(name for name in zipped.namelist() if name.startswith("archives/"))
    for number, (name, change, text) in enumerate([
        ("tables/team.jsonl", lambda data: data.replace(b"Team A", b"Team B"), "team.jsonl was changed"),
        ("tables/entry.jsonl", lambda data: data[: len(data) // 2], "entry.jsonl"),
        ("tables/result.jsonl", lambda data: None, "result.jsonl is missing"),
        (digest, lambda data: data + b"x", "was changed"),
        (digest, lambda data: None, "is missing"),
        ("secret", lambda data: None, "secret is missing"),
        ("manifest.json", lambda data: None, "manifest.json is missing"),
        ("manifest.json", lambda data: data.replace(b'"0001"', b'"0000"'), "revision 0000"),
    ]):  # fmt: skip
        changed(tmp_path / "one.zip", tmp_path / f"{number}.zip", name, change)
        with pytest.raises(DataError, match=text):
            restore(tmp_path / f"{number}.zip", tmp_path / "made", database=database)
        assert not (tmp_path / "made").exists()
    (tmp_path / "no.zip").write_text("no zip")
    with pytest.raises(DataError, match="no backup"):
        restore(tmp_path / "no.zip", tmp_path / "made")
    restore(tmp_path / "one.zip", tmp_path / "made", database=database)  # the database was left empty


def test_a_backup_is_refused_where_an_archive_is_lost(used, tmp_path):
    digest = next(iter(used.service.archives.digests()))
    used.service.archives.path(digest).unlink()
    with pytest.raises(DataError, match="missing"):
        back_up(used.service.folder.path, tmp_path / "one.zip")
    assert not (tmp_path / "one.zip").exists()


def test_the_record_of_a_season_tells_no_secret(used, tmp_path):
    used.service.add_phase("Final", NOON.replace(month=5), None, actor="test", part="private", hidden=True)
    archive_season(used.service.folder.path, tmp_path / "season.zip")
    with zipfile.ZipFile(tmp_path / "season.zip") as zipped:
        texts = {name: zipped.read(name).decode() for name in zipped.namelist()}
    assert sorted(texts) == [
        "board-1.csv",
        "board-1.json",
        "history-1.csv",
        "history-1.json",
        "pages/about.md",
        "season.json",
    ]
    record = json.loads(texts["season.json"])
    assert [(phase["name"], phase["board"]) for phase in record["phases"]] == [
        ("Development", "board-1.csv"), ("Final", None),
    ]  # fmt: skip
    assert (record["teams"], record["entries"]) == (1, 2)
    assert "example.org" not in "".join(texts.values())
    assert texts["board-1.csv"] == used.service.board_csv(1)
    archive_season(used.service.folder.path, tmp_path / "all.zip", private=True)
    with zipfile.ZipFile(tmp_path / "all.zip") as zipped:
        assert {"board-2.csv", "audit.csv"} <= set(zipped.namelist())
        assert zipped.read("audit.csv").decode().count("\n") == len(used.service.audit())  # the last line came after


def test_tables_are_those_of_the_migrations(database, tmp_path):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from c2seg.server.migrating import remove, upgrade

    opened = Database(
        database.replace("postgresql:", "postgresql+psycopg:") if database else f"sqlite:///{tmp_path}/a.sqlite"
    )
    with pytest.raises(DataError, match="no tables"):
        opened.check_revision()
    upgrade(opened)
    upgrade(opened)
    opened.check_revision()
    assert opened.revision() == head()
    with opened.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    remove(opened)
    assert opened.revision() is None
    opened.close()


def test_tables_of_another_version_are_said(small):
    with small.service.database.writing_connection() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")
    with pytest.raises(DataError, match="revision 0000, this c2seg needs"):
        open_service(small.service.folder.path)
