"""The data folder of a season: settings, key, store, queue, and the database where it is SQLite. For its owner alone.

``server.json`` settings; ``server.sqlite`` the database; ``secret`` the key of cookies; ``archives/`` what was received, by its
digest; ``incoming/`` uploads on their way; ``pages/`` the organizers' texts; ``queue.sqlite`` jobs, which are derived from the
entries and may be lost.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from c2seg.documents import read_bytes
from c2seg.errors import DataError
from c2seg.records import Artifact

__all__ = ["SECRET_BYTES", "ServerFolder", "ServerSettings"]

SECRET_BYTES = 32
_SETTINGS = "server.json"


class ServerSettings(Artifact):
    """``server.json``. ``database`` is the URL of PostgreSQL; None: SQLite in the folder."""

    artifact: Literal["server"] = "server"
    database: str | None = None


@dataclass(frozen=True)
class ServerFolder:
    """An existing data folder."""

    path: Path
    settings: ServerSettings

    @classmethod
    def make(cls, path: Path, database: str | None, secret: bytes | None = None) -> ServerFolder:
        """Fill an empty folder. The database has no tables yet."""
        settings = ServerSettings(database=database)
        path.chmod(0o700)
        folder = cls(path, settings)
        for part in (folder.archives, folder.incoming, folder.pages):
            part.mkdir(mode=0o700)
        _write_private(path / _SETTINGS, settings.as_text().encode())
        _write_private(folder._secret, secret or secrets.token_bytes(SECRET_BYTES))
        return folder

    @classmethod
    def open(cls, path: Path) -> ServerFolder:
        """Open a folder. Raises DataError if it is none of a season."""
        if not (path / _SETTINGS).is_file():
            raise DataError(f"{path} holds no season of a challenge server; make one with c2seg serve init")
        return cls(path.absolute(), ServerSettings.read(path / _SETTINGS))

    @property
    def database_url(self) -> str:
        """URL of the database, for SQLAlchemy."""
        return self.settings.database or f"sqlite:///{self.path / 'server.sqlite'}"

    @property
    def queue(self) -> Path:
        """SQLite file of the queue, where the database is SQLite, too."""
        return self.path / "queue.sqlite"

    @property
    def archives(self) -> Path:
        """Folder of the archives by digest."""
        return self.path / "archives"

    @property
    def incoming(self) -> Path:
        """Folder of uploads on their way, on the same file system as ``archives``."""
        return self.path / "incoming"

    @property
    def pages(self) -> Path:
        """Folder of the texts that the organizers write: Markdown."""
        return self.path / "pages"

    @property
    def root(self) -> Path:
        """The folder itself."""
        return self.path

    @property
    def _secret(self) -> Path:
        return self.path / "secret"

    def secret(self) -> bytes:
        """Return the key of cookies. Raises DataError if it is not there in full."""
        secret = read_bytes(self._secret, SECRET_BYTES)
        if len(secret) != SECRET_BYTES:
            raise DataError(f"{self._secret} is damaged; restore a backup with c2seg serve restore")
        return secret


def _write_private(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
