"""Run by Alembic with a connection that ``migrating`` gives."""

from __future__ import annotations

from alembic import context

from c2seg.server.tables import Base

if hasattr(context, "config"):  # Alembic runs it; an import of all modules does nothing
    connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        transaction_per_migration=False,
    )
    context.run_migrations()
