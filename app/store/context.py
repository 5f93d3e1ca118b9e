"""Reading items: the context of a response, pages of it, and single items by their ids."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

from sqlalchemy import BigInteger, bindparam, func, literal, select
from sqlalchemy.engine import Connection

from app.store import rows
from app.store.contract import CONTINUABLE, OPEN, BrokenContext, Context, Item, Order, Page
from app.store.schema import INPUT, OUTPUT, conversation_items, conversations, key, response_items, responses
from app.wire import codec

T = TypeVar("T")

_LONGEST_CHAIN = 10_000
"""More than any context window holds; a chain that is longer counts as broken."""

_MOST_IDS = 500
"""How many ids one statement asks for: databases bound the number of parameters."""

_COLUMNS = (
    responses.c.id,
    responses.c.previous_response_id,
    responses.c.status,
    responses.c.conversation_id,
    responses.c.conversation_position,
)

_chain = (
    select(*_COLUMNS, literal(0).label("level"))
    .where(responses.c.id == bindparam("id"), responses.c.caller == bindparam("caller"), ~responses.c.gone)
    .cte("chain", recursive=True)
)
_chain = _chain.union_all(
    select(*_COLUMNS, _chain.c.level + 1)
    .join(_chain, responses.c.id == _chain.c.previous_response_id)
    .where(responses.c.caller == bindparam("caller"), ~responses.c.gone, _chain.c.level < _LONGEST_CHAIN)
)


def _along_chain(column: Any) -> Any:  # noqa: ANN401 - SQLAlchemy's column of any type
    """Select one column of all items along the chain, oldest first; a response without items is one row too."""
    return (
        select(_chain, response_items.c.side, response_items.c.position, column)
        .select_from(_chain.outerjoin(response_items, response_items.c.response_id == _chain.c.id))
        .order_by(_chain.c.level.desc(), response_items.c.side, response_items.c.position)
    )


_chain_data = _along_chain(response_items.c.data)
_chain_keys = _along_chain(response_items.c.item_key)

_before = (
    (conversation_items.c.conversation_id == bindparam("conversation_id"))
    & (conversation_items.c.caller == bindparam("caller"))
    & (conversation_items.c.position < bindparam("position", type_=BigInteger))
)
_conversation_data = select(conversation_items.c.data).where(_before).order_by(conversation_items.c.position)
_conversation_keys = (
    select(conversation_items.c.position, conversation_items.c.item_key)
    .where(_before)
    .order_by(conversation_items.c.position)
)

_data_at = select(
    response_items.c.response_id, response_items.c.side, response_items.c.position, response_items.c.data
).where(
    # Some more rows than asked for, by an index; asking for the triples themselves would scan the table in SQLite.
    response_items.c.response_id.in_(bindparam("ids", expanding=True)),
    response_items.c.side.in_((INPUT, OUTPUT)),
    response_items.c.position.in_(bindparam("positions", expanding=True)),
)
_conversation_data_at = select(conversation_items.c.position, conversation_items.c.data).where(
    conversation_items.c.conversation_id == bindparam("conversation_id"),
    conversation_items.c.position.in_(bindparam("places", expanding=True)),
)

# The model's own output before what a client sent back of it, and the newest of each.
_ranked = (
    select(
        response_items.c.item_key,
        response_items.c.data,
        func.row_number()
        .over(
            partition_by=response_items.c.item_key,
            order_by=(response_items.c.side.desc(), responses.c.created_at.desc(), responses.c.id),
        )
        .label("rank"),
    )
    .join(responses, responses.c.id == response_items.c.response_id)
    .where(
        response_items.c.caller == bindparam("caller"),
        response_items.c.item_key.in_(bindparam("keys", expanding=True)),
        ~responses.c.gone,
    )
    .subquery()
)
_by_key = select(_ranked.c.item_key, _ranked.c.data).where(_ranked.c.rank == 1)
_by_key_in_conversations = (
    select(conversation_items.c.item_key, conversation_items.c.data)
    .join(conversations, conversations.c.id == conversation_items.c.conversation_id)
    .where(
        conversation_items.c.caller == bindparam("caller"),
        conversation_items.c.item_key.in_(bindparam("keys", expanding=True)),
        ~conversations.c.gone,
    )
    .order_by(conversations.c.created_at)
)


def read_context(connection: Connection, caller: str, response_id: str) -> Context | BrokenContext:
    """Collect the items of a chain; of one that began in a conversation, also those that stood there before."""
    found = connection.execute(_chain_data, {"id": key(response_id), "caller": caller}).all()
    if not found:
        return BrokenContext(response_id, "unknown")
    root = found[0]
    if root.previous_response_id is not None:
        return BrokenContext(root.previous_response_id, "unknown")
    for row in found:
        if row.status not in CONTINUABLE:
            return BrokenContext(row.id, "unfinished" if row.status in OPEN else "failed")
    before: Sequence[bytes] = ()
    if root.conversation_position:
        values = {"conversation_id": root.conversation_id, "caller": caller, "position": root.conversation_position}
        before = connection.execute(_conversation_data, values).scalars().all()
    return Context(tuple(codec.decode(data) for data in (*before, *(row.data for row in found)) if data is not None))


def read_page(
    connection: Connection, caller: str, response_id: str, *, after: str | None, limit: int, order: Order
) -> Page | None:
    """List what a response was made from. The keys of the whole context are read, and the items of one page.

    Raises:
        BadRequest: There is no item ``after``.
    """
    found = connection.execute(_chain_keys, {"id": key(response_id), "caller": caller}).all()
    if not found:
        return None
    root = found[0]
    places: dict[str, tuple[str, int, int]] = {}
    if root.conversation_position:
        values = {"conversation_id": root.conversation_id, "caller": caller, "position": root.conversation_position}
        for row in connection.execute(_conversation_keys, values):
            places.setdefault(row.item_key, ("", INPUT, row.position))
    for row in found:
        if row.item_key is not None and not (row.level == 0 and row.side == OUTPUT):
            places.setdefault(row.item_key, (row.id, row.side, row.position))
    chosen, has_more = cut(list(places.items()), lambda entry: entry[0], after, limit, order)
    data = _read_places(connection, root.conversation_id, [place for _, place in chosen])
    return Page(tuple(codec.decode(data[place]) for _, place in chosen if place in data), has_more)


def read_items(connection: Connection, caller: str, item_ids: Collection[str]) -> dict[str, Item]:
    """Find items by their ids, in responses first and then in conversations."""
    wanted = {key(item_id): item_id for item_id in item_ids}
    found: dict[str, bytes] = {}
    for statement in (_by_key, _by_key_in_conversations):
        missing = [one for one in wanted if one not in found]
        for at in range(0, len(missing), _MOST_IDS):
            values = {"caller": caller, "keys": missing[at : at + _MOST_IDS]}
            found.update((row[0], row[1]) for row in connection.execute(statement, values))
    return {item_id: codec.decode(found[one]) for one, item_id in wanted.items() if one in found}


def cut(
    entries: list[T], key_of: Callable[[T], str], after: str | None, limit: int, order: Order
) -> tuple[list[T], bool]:
    """Cut one page out of a list that is in ascending order.

    Raises:
        BadRequest: There is no entry ``after``.
    """
    if order == "desc":
        entries.reverse()
    start = 0
    if after is not None:
        cursor = key(after)
        start = next((at for at, entry in enumerate(entries, 1) if key_of(entry) == cursor), 0)
        if not start:
            raise rows.no_such_cursor(after)
    return entries[start : start + limit], len(entries) > start + limit


def _read_places(
    connection: Connection, conversation_id: str | None, places: Sequence[tuple[str, int, int]]
) -> dict[tuple[str, int, int], bytes]:
    data: dict[tuple[str, int, int], bytes] = {}
    own = [place for place in places if place[0]]
    if own:
        ids, positions = {place[0] for place in own}, {place[2] for place in own}
        found = connection.execute(_data_at, {"ids": sorted(ids), "positions": sorted(positions)})
        data.update(((row[0], row[1], row[2]), row[3]) for row in found)
    before = [place[2] for place in places if not place[0]]
    if before:
        values = {"conversation_id": conversation_id, "places": before}
        found = connection.execute(_conversation_data_at, values)
        data.update((("", INPUT, row[0]), row[1]) for row in found)
    return data
