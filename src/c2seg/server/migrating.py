"""Make and change the tables with Alembic, in one transaction."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

if TYPE_CHECKING:
    from c2seg.server.database import Database

__all__ = ["head", "remove", "upgrade"]


@cache
def head() -> str:
    """Return the newest revision that this version of c2seg knows."""
    value = ScriptDirectory.from_config(_config()).get_current_head()
    assert value is not None
    return value


def upgrade(database: Database) -> None:
    """Bring the tables to the newest revision, or make them; whole or not at all. Nothing happens where they are."""
    config = _config()
    with database.writing_connection() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def remove(database: Database) -> None:
    """Remove all tables, with what they hold."""
    config = _config()
    with database.writing_connection() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
