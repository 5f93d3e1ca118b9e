"""Keys, and the count of what has happened to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final, TypeVar

from msgspec.structs import fields
from sqlalchemy import BigInteger, bindparam, select, update
from sqlalchemy.engine import Connection

from app.core.key import ApiKey
from app.core.limits import BUDGETS, LimitSpec
from app.store import rows, schema
from app.store.accounts import KeyChanges, KeyExistsError
from app.store.connections import Connections
from app.store.contract import StoreError
from app.store.schema import api_keys, revisions
from app.store.writes import Writes
from app.wire import codec

T = TypeVar("T")

_COUNTER: Final = "keys"
_LIMITS: Final = tuple(field.name for field in fields(LimitSpec))

_revision = select(revisions.c.revision).where(revisions.c.name == _COUNTER)
_all = select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id)
_find = select(api_keys).where(api_keys.c.id == bindparam("of_id"))
_find_to_change = _find.with_for_update()
_replace = update(api_keys).where(api_keys.c.id == bindparam("of_id"))
# One statement, so that the keys and the revision are of the same instant.
_since = (
    select(revisions.c.revision.label("current"), api_keys)
    .join(api_keys, api_keys.c.revision > bindparam("since", type_=BigInteger))
    .where(revisions.c.name == _COUNTER)
)


class SqlKeyRecords:
    """Keys in a database; see ``app.store.accounts.KeyRecords``.

    Args:
        connections: The database.
        writes: Runs the transactions.
    """

    __slots__ = ("_connections", "_writes")

    def __init__(self, connections: Connections, writes: Writes) -> None:
        self._connections = connections
        self._writes = writes

    async def add(self, key: ApiKey) -> None:
        """Add a key."""

        def add(connection: Connection) -> None:
            row = {**_write(key, {}), "revision": _count(connection)}
            if connection.execute(_insert(connection.dialect.name), row).scalar() is None:
                raise KeyExistsError(f"there is a key with the id {key.id} already")

        await self._writes.run(add)

    async def find(self, key_id: str) -> ApiKey | None:
        """One key."""
        values = {"of_id": schema.key(key_id)}
        row = await self._connections.read(lambda connection: connection.execute(_find, values).one_or_none())
        return None if row is None else _read(row)

    async def all(self) -> tuple[ApiKey, ...]:
        """All keys, oldest first."""
        found = await self._connections.read(lambda connection: connection.execute(_all).all())
        return tuple(_read(row) for row in found)

    async def change(self, key_id: str, change: Callable[[ApiKey], ApiKey]) -> ApiKey | None:
        """Change a key as one step."""

        def run(connection: Connection) -> ApiKey | None:
            row = connection.execute(_find_to_change, {"of_id": schema.key(key_id)}).one_or_none()
            if row is None:
                return None
            before = _read(row)
            after = change(before)
            if (after.id, after.created_at) != (before.id, before.created_at):
                raise ValueError("the id of a key and its time of making cannot be changed")
            if after != before:
                # Counted as late as can be: all who change keys wait for it until this is committed.
                values = {**_write(after, codec.decode(row.data)), "revision": _count(connection)}
                connection.execute(_replace, {**values, "of_id": row.id})
            return after

        return await self._writes.run(run)

    async def changes(self, since: int) -> KeyChanges:
        """What has changed since a revision."""

        def read(connection: Connection) -> KeyChanges:
            revision = connection.execute(_revision).scalar() or 0
            if revision == since:
                return KeyChanges(since, ())
            found = connection.execute(_since, {"since": since if since < revision else 0}).all()
            return KeyChanges(found[0].current if found else 0, tuple(_read(row) for row in found))

        return await self._connections.read(read)


@cache
def _insert(dialect: str) -> Any:  # noqa: ANN401 - SQLAlchemy's own
    return rows.insert_new(api_keys, dialect).returning(api_keys.c.id)


@cache
def _count_up(dialect: str) -> Any:  # noqa: ANN401 - SQLAlchemy's own
    first = rows.insert_into(revisions, dialect).values(name=_COUNTER, revision=1)
    again = {"revision": revisions.c.revision + 1}
    return first.on_conflict_do_update(index_elements=[revisions.c.name], set_=again).returning(revisions.c.revision)


def _count(connection: Connection) -> int:
    """Count a change; nobody else can until this transaction ends."""
    revision: int = connection.execute(_count_up(connection.dialect.name)).scalar_one()
    return revision


def _write(key: ApiKey, before: Mapping[str, Any]) -> dict[str, Any]:
    """Write a key as a row without its revision; what a newer release has noted on it before stays there."""
    limits = {name: value for name, value in before.get("limits", {}).items() if name not in _LIMITS}
    limits |= {name: value for name in _LIMITS if (value := getattr(key.limits, name)) is not None}
    data = {"id": key.id, "name": key.name, "models": key.models, "limits": limits, "metadata": dict(key.metadata)}
    return {
        "id": schema.key(key.id),
        "created_at": key.created_at,
        "digest": key.digest,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "previous_digest": key.previous_digest,
        "previous_until": key.previous_until,
        "data": codec.encode({**before, **data}),
    }


def _read(row: Any) -> ApiKey:  # noqa: ANN401 - a row of any statement that has all columns
    """Read a key.

    Raises:
        StoreError: It is not as any release writes it. To guess could be to give somebody more than was meant.
    """
    try:
        data = _a(dict, codec.decode(row.data))
        return ApiKey(
            _a(str, data["id"]),
            _a(str, data["name"]),
            row.digest,
            row.created_at,
            tuple(_a(str, name) for name in _a(list, data["models"])),
            row.expires_at,
            row.revoked_at,
            _read_limits(_a(dict, data["limits"])),
            {name: _a(str, value) for name, value in _a(dict, data["metadata"]).items()},
            row.previous_digest,
            row.previous_until,
        )
    except (LookupError, TypeError, ValueError) as error:
        raise StoreError(f"the key {row.id} cannot be read from the database: {error}") from error


def _read_limits(data: Mapping[str, Any]) -> LimitSpec:
    known: dict[str, Any] = {name: data[name] for name in _LIMITS if name in data}
    for name, value in known.items():
        if name not in BUDGETS or not isinstance(value, float):
            _a(int, value)
    return LimitSpec(**known)


def _a(kind: type[T], value: object) -> T:
    """Take a value of exactly this type: in Python true is a number too."""
    if type(value) is not kind:
        raise TypeError(f"{type(value).__name__} in the place of {kind.__name__}")
    return value
