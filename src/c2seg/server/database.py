"""The database: SQLite in the data folder, or PostgreSQL by its URL. Transactions either read or write."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, create_engine, event, inspect, text
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, NoSuchModuleError, OperationalError
from sqlalchemy.orm import Session

from c2seg.errors import DataError, InputError, OutputError, one_line

__all__ = ["Database", "check_url"]

_BUSY_S = 30
"""How long a writer waits for another one in SQLite. Every transaction of ours takes milliseconds."""
_WRITES = "c2seg_writes"


def check_url(url: str) -> str:
    """Return the URL with the driver that we use. Raises InputError for any database but SQLite and PostgreSQL."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise InputError(f"`database`: this is no URL of a database; give {_FORM}") from None
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise InputError(f"`database`: {backend} is neither sqlite nor postgresql; give {_FORM}")
    if backend == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    return parsed.render_as_string(hide_password=False)


_FORM = "none for SQLite in the data folder, or postgresql://user@host/name"


class Database:
    """An engine with sessions that read a snapshot, and sessions that write alone.

    In SQLite a writing transaction takes the write lock at its start (``BEGIN IMMEDIATE``), so that what it has read still
    holds when it writes. In PostgreSQL a snapshot is ``REPEATABLE READ``; writers lock the rows that they decide by.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        try:
            self.engine = _sqlite_engine(url) if self.is_sqlite else _postgresql_engine(url)
        except (NoSuchModuleError, ModuleNotFoundError) as error:
            raise InputError(f"`database`: no driver for it is installed: {one_line(error)[:120]}") from error

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Yield a session that sees one state of the database."""
        options = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with (
            _faults(),
            self.engine.connect().execution_options(**options) as connection,
            Session(connection) as session,
        ):
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Yield a session whose changes are committed, and synced to disk, at the end; none of them if the block raises."""
        with self.writing_connection() as connection, Session(connection, expire_on_commit=False) as session:
            yield session
            session.flush()

    @contextmanager
    def writing_connection(self) -> Iterator[Connection]:
        """Yield a connection in a transaction that is committed at the end, and undone if the block raises."""
        with (
            _faults(),
            self.engine.connect().execution_options(**{_WRITES: True}) as connection,
            connection.begin(),
        ):
            yield connection

    def revision(self) -> str | None:
        """Return the revision of the tables; None if there are none."""
        with _faults(), self.engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            value = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
            return None if value is None else str(value)

    def check_revision(self) -> None:
        """Raise DataError unless the tables are those of this version of c2seg."""
        from c2seg.server.migrating import head

        present = self.revision()
        if present is None:
            raise DataError("the database has no tables of a challenge; make them with c2seg serve init")
        if present != head():
            raise DataError(
                f"the database has tables of revision {present}, this c2seg needs {head()}: run c2seg serve upgrade, "
                "or use a newer c2seg"
            )


def _sqlite_engine(url: str) -> Engine:
    engine = create_engine(url, connect_args={"timeout": _BUSY_S, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _connected(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin where we say so
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql_engine(url: str) -> Engine:
    return create_engine(url, pool_pre_ping=True, pool_size=5, max_overflow=10, connect_args={"connect_timeout": 10})


@contextmanager
def _faults() -> Iterator[None]:
    """Raise what a database that is away, locked or damaged says in one line. Never with its URL, which holds a password."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise OutputError(f"cannot use the database: {_reason(error)}") from error
    except DBAPIError as error:
        if isinstance(error.orig, sqlite3.DatabaseError) and "malformed" in str(error.orig):
            raise DataError("the database is damaged; restore a backup with c2seg serve restore") from error
        raise


def _reason(error: DBAPIError) -> str:
    return one_line(error.orig)[:200]
