"""Files without their bytes, in a database."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import (
    BindParameter,
    Double,
    Select,
    and_,
    bindparam,
    delete,
    exists,
    insert,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.engine import Connection

from app.store import rows
from app.store.connections import Connections
from app.store.filing import FilePage, StoredFile
from app.store.kept import Order
from app.store.schema import batches, files, key
from app.store.writes import Writes

_FILE = (
    files.c.id,
    files.c.caller,
    files.c.created_at,
    files.c.purpose,
    files.c.bytes,
    files.c.filename,
    files.c.expires_at,
)
_now: BindParameter[float] = bindparam("now", type_=Double)

_mine = (files.c.id == bindparam("of_id")) & (files.c.caller == bindparam("of_caller")) & ~files.c.gone
_there = files.c.whole & or_(files.c.expires_at.is_(None), files.c.expires_at > _now)
_find = select(*_FILE).where(_mine, _there)
_complete = (
    update(files)
    .where(_mine, ~files.c.whole)
    .values(
        created_at=bindparam("made_at"),
        purpose=bindparam("meant_for"),
        bytes=bindparam("size"),
        filename=bindparam("called"),
        expires_at=bindparam("until"),
        whole=True,
    )
)
_hide = update(files).where(_mine, _there).values(gone=True)
_discard = update(files).where(_mine, ~files.c.whole).values(gone=True)
_list = select(*_FILE).where(files.c.caller == bindparam("of_caller"), ~files.c.gone, _there)
_expired = select(files.c.id).where(
    ~files.c.gone,
    or_(
        files.c.expires_at <= _now,
        and_(~files.c.whole, files.c.created_at < bindparam("unfinished_before", type_=Double)),
    ),
)
_unread = select(files.c.id).where(
    files.c.gone, ~exists().where(batches.c.living, batches.c.input_file_id == files.c.id)
)
_by_id = files.c.id == bindparam("of_id")
_bury = update(files).where(_by_id).values(gone=True)
_forget = delete(files).where(_by_id, files.c.gone)


class SqlFiles:
    """Files in a database; see ``app.store.filing.Files``.

    Args:
        connections: The database.
        writes: Runs the transactions.
    """

    __slots__ = ("_connections", "_writes")

    def __init__(self, connections: Connections, writes: Writes) -> None:
        self._connections = connections
        self._writes = writes

    async def begin(self, caller: str, file_id: str, now: float) -> None:
        """Say that bytes will come."""
        row = file_row(StoredFile(file_id, caller, now, "", 0, ""), whole=False)
        await self._execute(insert(files), [row])

    async def complete(self, file: StoredFile) -> bool:
        """Say that all bytes are there."""
        values = {
            **_owner(file.caller, file.id),
            "made_at": file.created_at,
            "meant_for": file.purpose,
            "size": file.bytes,
            "called": _encoded(file.filename),
            "until": file.expires_at,
        }
        return await self._execute(_complete, values) == 1

    async def discard(self, caller: str, file_id: str) -> None:
        """Say that no bytes will come."""
        await self._execute(_discard, _owner(caller, file_id))

    async def get(self, caller: str, file_id: str, now: float) -> StoredFile | None:
        """Find a file."""
        values = {**_owner(caller, file_id), "now": now}
        row = await self._connections.read(lambda connection: connection.execute(_find, values).one_or_none())
        return None if row is None else _file(row)

    async def page(
        self,
        caller: str,
        now: float,
        *,
        purpose: str | None = None,
        after: str | None = None,
        limit: int = 20,
        order: Order = "desc",
    ) -> FilePage:
        """List a caller's files."""
        values: dict[str, Any] = {"of_caller": caller, "now": now}
        statement = _list if purpose is None else _list.where(files.c.purpose == purpose)
        if after is not None:
            cursor = await self.get(caller, after, now)
            if cursor is None:
                raise rows.no_such_cursor(after)
            statement = _beyond(statement, cursor, order)
        place = (files.c.created_at, files.c.id)
        ordered = statement.order_by(*(column.desc() if order == "desc" else column for column in place))
        some = ordered.limit(limit + 1)
        found = await self._connections.read(lambda connection: connection.execute(some, values).all())
        return FilePage(tuple(_file(row) for row in found[:limit]), len(found) > limit)

    async def delete(self, caller: str, file_id: str, now: float) -> bool:
        """Delete a file."""
        return await self._execute(_hide, {**_owner(caller, file_id), "now": now}) == 1

    async def doomed(self, now: float, *, unfinished_before: float, limit: int) -> tuple[str, ...]:
        """Hide what has expired; tell whose bytes are to be deleted."""
        values = {"now": now, "unfinished_before": unfinished_before}
        old = _expired.limit(limit)
        expired = await self._connections.read(lambda connection: connection.execute(old, values).scalars().all())
        if expired:
            await self._execute(_bury, [{"of_id": one} for one in expired])
        unread = _unread.limit(limit)
        return tuple(await self._connections.read(lambda connection: connection.execute(unread).scalars().all()))

    async def forget(self, file_ids: Collection[str]) -> None:
        """Delete rows."""
        if file_ids:
            await self._execute(_forget, [{"of_id": one} for one in file_ids])

    async def _execute(self, statement: Any, values: Any) -> int:  # noqa: ANN401 - SQLAlchemy's own kinds
        def execute(connection: Connection) -> int:
            return connection.execute(statement, values).rowcount

        return await self._writes.run(execute)


def file_row(file: StoredFile, *, whole: bool = True) -> dict[str, Any]:
    """A file as a row."""
    return {
        "id": file.id,
        "caller": file.caller,
        "created_at": file.created_at,
        "purpose": file.purpose,
        "bytes": file.bytes,
        "filename": _encoded(file.filename),
        "expires_at": file.expires_at,
        "whole": whole,
        "gone": False,
    }


def _beyond(statement: Select[Any], cursor: StoredFile, order: Order) -> Select[Any]:
    place, here = tuple_(files.c.created_at, files.c.id), tuple_(cursor.created_at, cursor.id)
    return statement.where(place < here if order == "desc" else place > here)


def _file(row: Sequence[Any]) -> StoredFile:
    file_id, caller, created_at, purpose, size, filename, expires_at = row
    return StoredFile(file_id, caller, created_at, purpose, size, filename.decode("utf-8", "replace"), expires_at)


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "replace")


def _owner(caller: str, file_id: str) -> dict[str, str]:
    return {"of_id": key(file_id), "of_caller": caller}
