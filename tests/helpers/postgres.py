"""A PostgreSQL of one's own for tests: a cluster in a temporary folder on a Unix socket, without durability."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NUMBERS = itertools.count()


def binaries() -> Path | None:
    """Return the folder of PostgreSQL's programs; None where it is not installed."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = shutil.which("initdb")
    folders += [Path(on_path).resolve().parent] if on_path else []
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "pg_ctl").exists()), None)


def _user() -> list[str]:
    """Return what runs a command as a user whom PostgreSQL lets start a server: anybody but root."""
    return ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []


@contextmanager
def cluster() -> Iterator[str]:
    """Yield the URL of a new cluster, with ``{}`` in the place of a database's name."""
    programs = binaries()
    assert programs is not None
    folder = Path(tempfile.mkdtemp(prefix="c2seg-pg-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    data, run = folder / "data", {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}
    options = f"-c fsync=off -c full_page_writes=off -c listen_addresses='' -c max_connections=60 -k {folder}"
    try:
        subprocess.run([*_user(), programs / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync"], **run)
        subprocess.run(
            [*_user(), programs / "pg_ctl", "-D", data, "-w", "-o", options, "-l", folder / "log", "start"], **run
        )
        try:
            yield f"postgresql://postgres@/{{}}?host={folder}"
        finally:
            subprocess.run([*_user(), programs / "pg_ctl", "-D", data, "-m", "immediate", "stop"], **run)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def new_database(url: str, name: str = "") -> str:
    """Make an empty database in a cluster, and return its URL."""
    return _made(url, name or f"season{next(_NUMBERS)}", "template1")


def copied_database(url: str, template: str) -> str:
    """Make a database that is a copy of another one, which nobody uses."""
    return _made(url, f"season{next(_NUMBERS)}", template)


def _made(url: str, name: str, template: str) -> str:
    import psycopg

    with psycopg.connect(url.format("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    return url.format(name)
