"""Bringing a database to the newest schema, when the store is opened and never later."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from app.store.connections import Connections
from app.store.contract import StoreError
from app.store.failures import reason
from app.store.schema import HEAD, VERSION_TABLE, metadata

if TYPE_CHECKING:
    from alembic.config import Config

_LOCK = 0x666C6172656C6179
"""The advisory lock of migrations in PostgreSQL: a number that nobody else will have thought of."""


async def upgrade(connections: Connections) -> None:
    """Take the steps that are missing; all of them, or none.

    Replicas that start together take turns: the first migrates, the others find it done.

    Raises:
        StoreError: The database is newer than this release, or a step failed.
    """
    # On nearly every start there is nothing to do: Alembic is not even loaded.
    if await connections.read(revision) != HEAD:
        await connections.transaction(_bring_up)


def revision(connection: Connection) -> str | None:
    """Read which revision a database is at; ``None`` for an empty one."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608
    return found


def configuration() -> Config:
    """Alembic's configuration, without a file."""
    from alembic.config import Config  # noqa: PLC0415 - loaded only when there is something to do

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def _bring_up(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    if inspect(connection).get_table_names():
        _migrate(connection)
    else:
        _create(connection)


def _create(connection: Connection) -> None:
    """Make the newest schema in a database with nothing in it: all steps together, without what it takes to do them."""
    version = Table(
        VERSION_TABLE,
        MetaData(),
        Column("version_num", String(32), nullable=False),
        PrimaryKeyConstraint("version_num", name=f"{VERSION_TABLE}_pkc"),
    )
    metadata.create_all(connection, checkfirst=False)
    version.create(connection, checkfirst=False)
    connection.execute(version.insert().values(version_num=HEAD))


def _migrate(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - loaded only when there is something to do
    from alembic.script import ScriptDirectory  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    current = revision(connection)
    if current == HEAD:
        return
    config = configuration()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise StoreError(
            f"the database is at revision {current}, which this release does not know: a newer release has written it. "
            "Install that release, or use another database."
        )
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except (SQLAlchemyError, CommandError) as error:
        raise StoreError(
            f"the database could not be migrated from {current or 'empty'} to {HEAD}, and is as it was: {reason(error)}"
        ) from error
