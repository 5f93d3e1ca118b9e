"""The ledger of what was used: one small row for each day, caller, model and source."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from operator import attrgetter
from typing import Any, Final

from sqlalchemy import Select, bindparam, delete, func, select
from sqlalchemy.engine import Connection

from app.store.accounts import UsageRow
from app.store.connections import Connections
from app.store.rows import insert_into
from app.store.schema import key, usage
from app.store.writes import Writes

_FIGURES: Final = ("requests", "prompt_tokens", "cached_tokens", "completion_tokens", "neurons")

_MOST: Final = 10**12
"""The most that is added of anything at once: an upstream's nonsense must not make the database refuse the batch."""

_place = attrgetter("day", "caller", "model", "source")

_neurons = select(func.coalesce(func.sum(usage.c.neurons), 0.0))
# Rows that another replica is adding to or deleting at this moment are left to it, or to the next time.
_old = (
    select(*usage.primary_key.columns)
    .where(usage.c.day < bindparam("before"))
    .order_by(usage.c.day)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_delete = delete(usage).where(*(column == bindparam(f"of_{column.name}") for column in usage.primary_key.columns))


class SqlUsageLedger:
    """Usage in a database; see ``app.store.accounts.UsageLedger``.

    Args:
        connections: The database.
        writes: Runs the transactions.
    """

    __slots__ = ("_connections", "_writes")

    def __init__(self, connections: Connections, writes: Writes) -> None:
        self._connections = connections
        self._writes = writes

    async def add(self, rows: Sequence[UsageRow]) -> None:
        """Add figures to the rows of their days."""
        if not rows:
            return
        # In one order everywhere, so that two who add to the same rows cannot wait for each other.
        values = [_write(row) for row in sorted(rows, key=_place)]

        def add(connection: Connection) -> None:
            connection.execute(_add(connection.dialect.name), values)

        await self._writes.run(add)

    async def rows(
        self, since: str, until: str, *, caller: str | None = None, model: str | None = None
    ) -> tuple[UsageRow, ...]:
        """The rows of some days."""
        statement = _of(select(usage), caller, model).where(usage.c.day >= since, usage.c.day <= until)
        found = await self._connections.read(lambda connection: connection.execute(statement).all())
        # Not by the database: each sorts texts in its own way.
        return tuple(sorted((UsageRow(*row) for row in found), key=_place))

    async def neurons(self, since: str, *, caller: str | None = None) -> float:
        """All neurons since a day."""
        statement = _of(_neurons, caller, None).where(usage.c.day >= since)
        total: float = await self._connections.read(lambda connection: connection.execute(statement).scalar_one())
        return total

    async def purge(self, before: str, limit: int) -> int:
        """Delete rows of days before this one."""

        def purge(connection: Connection) -> int:
            old = connection.execute(_old, {"before": before, "most": limit}).all()
            if old:
                names = [f"of_{name}" for name in old[0]._fields]
                connection.execute(_delete, [dict(zip(names, row, strict=True)) for row in old])
            return len(old)

        return await self._writes.run(purge)


@cache
def _add(dialect: str) -> Any:  # noqa: ANN401 - SQLAlchemy's own
    first = insert_into(usage, dialect)
    return first.on_conflict_do_update(
        index_elements=usage.primary_key.columns,
        set_={name: usage.c[name] + first.excluded[name] for name in _FIGURES},
    )


def _of(statement: Select[Any], caller: str | None, model: str | None) -> Select[Any]:
    if caller is not None:
        statement = statement.where(usage.c.caller == key(caller))
    if model is not None:
        statement = statement.where(usage.c.model == key(model))
    return statement


def _write(row: UsageRow) -> dict[str, Any]:
    return {
        "day": row.day,
        "caller": key(row.caller),
        "model": key(row.model),
        "source": row.source,
        **{name: min(getattr(row, name), _MOST) for name in _FIGURES},
    }
