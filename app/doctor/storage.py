"""The database: whether it is there, can be written, has the schema of this release, and is nobody else's to read."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from app.doctor.findings import Clock, Finding, Reading, failed, ok, skipped, warning
from app.store.contract import StoreError, StoreUnavailable

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Connection

LEAST_SPACE: Final = 256 * 1024 * 1024
"""Bytes that should be free on the disk."""

_LOCK_SECONDS: Final = 2.0
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_KEYS: Final = "SELECT count(*), count(CASE WHEN revoked_at IS NULL THEN 1 END) FROM api_keys"


class Seen(Struct, frozen=True):
    """What was seen of a store.

    Attributes:
        findings: How it is.
        keys: How many keys are in it, and how many of them were not revoked; ``None`` where that cannot be told.
    """

    findings: Sequence[Finding]
    keys: tuple[int, int] | None = None


async def check_store(url: str, clock: Clock, readings: list[Reading]) -> Seen:
    """Look at the store of the settings. It is neither made nor migrated.

    Args:
        url: Where it is.
        clock: Our clock.
        readings: Takes what a database server's clock showed.
    """
    from app.store.connections import parse  # noqa: PLC0415 - loads SQLAlchemy

    try:
        parsed = parse(url)
    except StoreError as error:
        return Seen([failed("store", str(error), "look at FLARELAY_DATABASE_URL")])
    if parsed.get_backend_name() == "sqlite":
        return await asyncio.to_thread(_sqlite, Path(parsed.database or ""))
    return await _postgres(parsed, clock, readings)


def _sqlite(path: Path) -> Seen:
    advice = "set FLARELAY_DATA_DIR to a directory that this user may write"
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return Seen([_to_be_made(path, advice)], (0, 0))
    except OSError as error:
        return Seen([failed("store", f"{path} cannot be looked at: {error.strerror}", advice)])
    try:
        revision, keys = _read_file(path)
    except sqlite3.Error as error:
        return Seen([failed("store", f"{path} cannot be used: {error}", _advice_for(error, advice))])
    finding = _judged(str(path), revision)
    if finding.verdict == "ok" and mode & _OTHERS:
        shown = stat.filemode(mode)
        finding = warning("store", f"others on this machine may read {path} ({shown})", f"chmod 600 {path}")
    return Seen([finding, *_space(path.parent)], keys)


def _read_file(path: Path) -> tuple[str | None, tuple[int, int]]:
    """The revision of a file and its keys, after a transaction that writes nothing."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_LOCK_SECONDS)
    try:
        # It is refused where the file or its directory cannot be written.
        connection.isolation_level = None
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
        return _state(connection)
    finally:
        connection.close()


def _state(connection: sqlite3.Connection) -> tuple[str | None, tuple[int, int]]:
    from app.store.schema import VERSION_TABLE  # noqa: PLC0415 - loads SQLAlchemy

    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if VERSION_TABLE not in tables:
        return None, (0, 0)
    row = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()  # noqa: S608 - our own name
    keys = connection.execute(_KEYS).fetchone() if "api_keys" in tables else (0, 0)
    return (row[0] if row else None), (keys[0], keys[1])


def _advice_for(error: sqlite3.Error, otherwise: str) -> str:
    if "locked" in str(error):
        return "find the process that holds it, and do not put it on a network file system"
    if "not a database" in str(error) or "malformed" in str(error):
        return "put back a backup, or move it away: a new one is made at the next start"
    return otherwise


def _to_be_made(path: Path, advice: str) -> Finding:
    parent = next((one for one in path.parents if one.exists()), Path("/"))
    if not parent.is_dir():
        return failed("store", f"{path} cannot be made: {parent} is no directory", advice)
    if not os.access(parent, os.W_OK | os.X_OK):
        return failed("store", f"{path} cannot be made: {parent} may not be written", advice)
    return ok("store", f"{path} is made at the first start")


def _space(directory: Path) -> list[Finding]:
    free = shutil.disk_usage(directory).free
    if free >= LEAST_SPACE:
        return []
    return [warning("disk", f"{free / 1024**2:.0f} MiB are free at {directory}", "make room: a full disk stops saving")]


async def _postgres(url: URL, clock: Clock, readings: list[Reading]) -> Seen:
    import logging  # noqa: PLC0415 - only here

    from sqlalchemy import text  # noqa: PLC0415 - loads SQLAlchemy
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    from app.store.connections import connect  # noqa: PLC0415
    from app.store.failures import Health, reason  # noqa: PLC0415
    from app.store.upgrade import revision  # noqa: PLC0415

    def look(connection: Connection) -> tuple[Sequence[Any], str | None, Sequence[int]]:
        before = clock()
        asked = text(
            "SELECT extract(epoch FROM clock_timestamp()), pg_is_in_recovery(), "
            "has_schema_privilege(current_schema(), 'CREATE')"
        )
        told = connection.execute(asked).one()
        readings.append(Reading("the database", float(told[0]), (before + clock()) / 2))
        found = revision(connection)
        return told, found, connection.execute(text(_KEYS)).one() if found is not None else (0, 0)

    where = url.render_as_string(hide_password=True).partition("@")[2] or url.database or "PostgreSQL"
    # What would be logged of an outage is the finding.
    quiet = logging.getLogger(__name__)
    quiet.propagate = False
    quiet.addHandler(logging.NullHandler())
    try:
        connections = connect(url, Health(quiet))
    except StoreError as error:
        return Seen([failed("store", str(error))])
    try:
        told, found, counted = await connections.read(look)
    except (StoreUnavailable, SQLAlchemyError) as error:
        advice = "start it, or look at FLARELAY_DATABASE_URL; without it nothing is served but what needs no store"
        return Seen([failed("store", f"{where} cannot be used: {reason(error.__cause__ or error)}", advice)])
    finally:
        await connections.close()
    if told[1]:
        return Seen([failed("store", f"{where} is a standby, which takes no writes", "name the primary")])
    finding = _judged(where, found)
    if finding.verdict == "ok" and found is None and not told[2]:
        finding = failed("store", f"no tables may be made at {where}", "grant CREATE on the schema to the user")
    return Seen([finding], (int(counted[0]), int(counted[1])))


def _judged(where: str, revision: str | None) -> Finding:
    """What a revision means for this release."""
    from app.store.schema import HEAD  # noqa: PLC0415 - loads SQLAlchemy

    if revision == HEAD:
        return ok("store", f"{where} can be written, and has the schema of this release ({HEAD})")
    if revision is None:
        return ok("store", f"{where} is empty: its tables are made at the first start")
    # Revisions are numbers with leading zeros, so they compare as texts.
    if revision > HEAD:
        found = f"{where} has schema {revision}, and this release knows up to {HEAD}"
        return failed("store", found, "install the newer release that wrote it, or use another database")
    found = f"{where} has schema {revision}: the next start brings it to {HEAD}"
    return ok("store", found, "make a backup before that")


def no_store() -> Seen:
    """Nothing is stored."""
    return Seen([skipped("store", "FLARELAY_STORE is false: nothing is kept")], (0, 0))
