"""Responses: saving, finding, changing and deleting them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import bindparam, delete, exists, update
from sqlalchemy.engine import Connection

from app.store import records, rows
from app.store.connections import Connections
from app.store.context import read_context, read_items, read_page
from app.store.contract import OPEN, BrokenContext, Context, Item, Order, Page, Status, StoredResponse
from app.store.records import Change, NewResponse
from app.store.schema import jobs, key, responses
from app.store.writes import GroupCommit, Writes

_expected = update(responses).where(
    responses.c.id == bindparam("of_id"),
    responses.c.caller == bindparam("of_caller"),
    ~responses.c.gone,
    responses.c.status.in_(bindparam("expected", expanding=True)),
)
# Work in the queue is ended by its worker or its caller, and by nobody else.
_expected_and_idle = _expected.where(~exists().where(jobs.c.response_id == responses.c.id))

_delete_job = delete(jobs).where(jobs.c.response_id == bindparam("of_id"), jobs.c.caller == bindparam("of_caller"))
_hide = (
    update(responses)
    .where(responses.c.id == bindparam("of_id"), responses.c.caller == bindparam("of_caller"), ~responses.c.gone)
    .values(gone=True)
)


class SqlResponses:
    """Responses in a database; see ``app.store.contract.Responses``.

    Args:
        connections: The database.
        writes: Runs the transactions.
    """

    __slots__ = ("_connections", "_saves", "_writes")

    def __init__(self, connections: Connections, writes: Writes) -> None:
        self._connections = connections
        self._writes = writes
        self._saves: GroupCommit[NewResponse, None] = GroupCommit(writes, _save)

    async def save(
        self, response: StoredResponse, input_items: Sequence[Item] = (), output_items: Sequence[Item] = ()
    ) -> None:
        """Keep a response."""
        await self._saves.submit(NewResponse(response, input_items, output_items))

    async def get(self, caller: str, response_id: str) -> StoredResponse | None:
        """Find a response."""
        values = {"id": key(response_id), "caller": caller}
        row = await self._connections.read(
            lambda connection: connection.execute(rows.find_response, values).one_or_none()
        )
        return None if row is None else rows.response(row)

    async def update(
        self,
        caller: str,
        response_id: str,
        *,
        expected: Collection[Status],
        status: Status,
        body: bytes,
        completed_at: float | None = None,
        output_items: Sequence[Item] | None = None,
    ) -> bool:
        """Change a response if it stands as expected."""
        statement = _expected if status in OPEN else _expected_and_idle
        values = {"of_id": key(response_id), "of_caller": caller, "expected": list(expected)}
        to = Change(status, body, completed_at, output_items)
        return await self._writes.run(lambda connection: records.change(connection, statement, values, to))

    async def delete(self, caller: str, response_id: str) -> bool:
        """Delete a response."""
        values = {"of_id": key(response_id), "of_caller": caller}

        def hide(connection: Connection) -> bool:
            connection.execute(_delete_job, values)
            return connection.execute(_hide, values).rowcount == 1

        return await self._writes.run(hide)

    async def context(self, caller: str, response_id: str) -> Context | BrokenContext:
        """Collect what a continuation is to know."""
        return await self._connections.read(lambda connection: read_context(connection, caller, response_id))

    async def input_items(
        self, caller: str, response_id: str, *, after: str | None = None, limit: int = 20, order: Order = "desc"
    ) -> Page | None:
        """List the items that a response was made from."""
        return await self._connections.read(
            lambda connection: read_page(connection, caller, response_id, after=after, limit=limit, order=order)
        )

    async def item(self, caller: str, item_id: str) -> Item | None:
        """Find one item."""
        return (await self.items(caller, [item_id])).get(item_id)

    async def items(self, caller: str, item_ids: Collection[str]) -> dict[str, Item]:
        """Find several items."""
        return await self._connections.read(lambda connection: read_items(connection, caller, item_ids))


def _save(connection: Connection, saves: Sequence[NewResponse]) -> Sequence[None]:
    records.insert(connection, saves)
    return [None] * len(saves)
