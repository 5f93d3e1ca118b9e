"""Conversations and their items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.engine import Connection

from app.store import rows
from app.store.connections import Connections
from app.store.contract import Context, Conversation, Item, Order, Page
from app.store.schema import conversation_items, conversations, key
from app.store.writes import Writes
from app.wire import codec

_mine = (
    (conversations.c.id == bindparam("of_id"))
    & (conversations.c.caller == bindparam("of_caller"))
    & ~conversations.c.gone
)
_find = select(*rows.CONVERSATION).where(_mine)
_note = update(conversations).where(_mine).values(metadata=bindparam("noted")).returning(*rows.CONVERSATION)
_hide = update(conversations).where(_mine).values(gone=True)

# One row with no item for a conversation that has none, so that it can be told from one that does not exist.
_joined = conversations.outerjoin(conversation_items, conversation_items.c.conversation_id == conversations.c.id)
_all = select(conversation_items.c.data).select_from(_joined).where(_mine).order_by(conversation_items.c.position)
_one = (
    select(conversation_items.c.data)
    .join(conversations, conversations.c.id == conversation_items.c.conversation_id)
    .where(_mine, conversation_items.c.item_key == bindparam("of_key"))
)
_position = (
    select(conversation_items.c.position)
    .select_from(
        conversations.outerjoin(
            conversation_items,
            (conversation_items.c.conversation_id == conversations.c.id)
            & (conversation_items.c.item_key == bindparam("of_key")),
        )
    )
    .where(_mine)
)
_slice = select(conversation_items.c.data).where(conversation_items.c.conversation_id == bindparam("of_id"))
_place = conversation_items.c.position
_slices: dict[tuple[Order, bool], Any] = {
    ("asc", False): _slice.order_by(_place),
    ("asc", True): _slice.where(_place > bindparam("after")).order_by(_place),
    ("desc", False): _slice.order_by(_place.desc()),
    ("desc", True): _slice.where(_place < bindparam("after")).order_by(_place.desc()),
}
_remove = delete(conversation_items).where(
    conversation_items.c.conversation_id == bindparam("of_id"),
    conversation_items.c.caller == bindparam("of_caller"),
    conversation_items.c.item_key == bindparam("of_key"),
)


class SqlConversations:
    """Conversations in a database; see ``app.store.contract.Conversations``.

    Args:
        connections: The database.
        writes: Runs the transactions.
    """

    __slots__ = ("_connections", "_writes")

    def __init__(self, connections: Connections, writes: Writes) -> None:
        self._connections = connections
        self._writes = writes

    async def create(self, conversation: Conversation, items: Sequence[Item] = ()) -> None:
        """Keep a new conversation."""
        row = {
            "id": conversation.id,
            "caller": conversation.caller,
            "created_at": conversation.created_at,
            "metadata": codec.encode(conversation.metadata),
            "next_position": 1,
            "expires_at": conversation.expires_at,
            "gone": False,
        }

        def create(connection: Connection) -> None:
            connection.execute(insert(conversations), row)
            if items:
                rows.append(connection, conversation.caller, conversation.id, items, None)

        await self._writes.run(create)

    async def get(self, caller: str, conversation_id: str) -> Conversation | None:
        """Find a conversation."""
        return await self._connections.read(lambda connection: _read(connection, caller, conversation_id))

    async def update(self, caller: str, conversation_id: str, metadata: Mapping[str, Any]) -> Conversation | None:
        """Replace the metadata."""
        values = {**_owner(caller, conversation_id), "noted": codec.encode(metadata)}

        def update(connection: Connection) -> Conversation | None:
            row = connection.execute(_note, values).one_or_none()
            return None if row is None else rows.conversation(row)

        return await self._writes.run(update)

    async def delete(self, caller: str, conversation_id: str) -> bool:
        """Delete a conversation."""

        def hide(connection: Connection) -> bool:
            return connection.execute(_hide, _owner(caller, conversation_id)).rowcount == 1

        return await self._writes.run(hide)

    async def add(
        self, caller: str, conversation_id: str, items: Sequence[Item], *, expires_at: float | None = None
    ) -> bool:
        """Append items."""
        added = await self._writes.run(
            lambda connection: rows.append(connection, caller, conversation_id, items, expires_at)
        )
        return added is not None

    async def items(
        self, caller: str, conversation_id: str, *, after: str | None = None, limit: int = 20, order: Order = "desc"
    ) -> Page | None:
        """List the items."""
        owner = _owner(caller, conversation_id)

        def read(connection: Connection) -> Page | None:
            found = connection.execute(_position, {**owner, "of_key": key(after or "")}).one_or_none()
            if found is None:
                return None
            values: dict[str, Any] = {"of_id": owner["of_id"]}
            if after is not None:
                if found.position is None:
                    raise rows.no_such_cursor(after)
                values["after"] = found.position
            statement = _slices[order, after is not None].limit(limit + 1)
            data = connection.execute(statement, values).scalars().all()
            return Page(tuple(codec.decode(one) for one in data[:limit]), len(data) > limit)

        return await self._connections.read(read)

    async def context(self, caller: str, conversation_id: str) -> Context | None:
        """Collect all items."""
        owner = _owner(caller, conversation_id)
        data = await self._connections.read(lambda connection: connection.execute(_all, owner).scalars().all())
        return Context(tuple(codec.decode(one) for one in data if one is not None)) if data else None

    async def item(self, caller: str, conversation_id: str, item_id: str) -> Item | None:
        """Find one item."""
        values = {**_owner(caller, conversation_id), "of_key": key(item_id)}
        data = await self._connections.read(lambda connection: connection.execute(_one, values).scalar())
        item: Item | None = None if data is None else codec.decode(data)
        return item

    async def remove(self, caller: str, conversation_id: str, item_id: str) -> Conversation | None:
        """Remove one item."""
        values = {**_owner(caller, conversation_id), "of_key": key(item_id)}

        def remove(connection: Connection) -> Conversation | None:
            conversation = _read(connection, caller, conversation_id)
            if conversation is None or connection.execute(_remove, values).rowcount != 1:
                return None
            return conversation

        return await self._writes.run(remove)


def _read(connection: Connection, caller: str, conversation_id: str) -> Conversation | None:
    row = connection.execute(_find, _owner(caller, conversation_id)).one_or_none()
    return None if row is None else rows.conversation(row)


def _owner(caller: str, conversation_id: str) -> dict[str, Any]:
    return {"of_id": key(conversation_id), "of_caller": caller}
