"""Alembic's entry: runs the revisions on the connection that `database/migrate.py` opened."""

from __future__ import annotations

from alembic import context

from viral.database.migrate import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    version_table_schema="viral",
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
