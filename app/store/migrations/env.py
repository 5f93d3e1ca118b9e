"""Alembic's entry: runs the steps on the connection that it is handed, in that connection's transaction."""

from __future__ import annotations

from alembic import context

from app.store.schema import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    # SQLite can undo DDL too, once the transaction was begun by hand.
    transactional_ddl=True,
)
context.run_migrations()
