"""Writing responses: the steps of saving, changing and finishing, each inside a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from msgspec import Struct
from sqlalchemy import Insert, Update, bindparam, delete, func, select, update
from sqlalchemy.engine import Connection

from app.store import rows
from app.store.contract import CONTINUABLE, Item, Status, StoredResponse
from app.store.schema import INPUT, OUTPUT, key, response_items, responses
from app.wire import codec

_parent = responses.alias("parent")
_values = {
    **{column.name: bindparam(column.name) for column in rows.RESPONSE},
    "gone": False,
    # A chain is known by its first response.
    "root_id": func.coalesce(
        select(_parent.c.root_id)
        .where(_parent.c.id == bindparam("parent_id"), _parent.c.caller == bindparam("parent_caller"))
        .scalar_subquery(),
        bindparam("own_id"),
    ),
}

_clear_output = delete(response_items).where(
    response_items.c.response_id == bindparam("of_id"), response_items.c.side == OUTPUT
)
_unappended = select(responses.c.caller, responses.c.conversation_id, responses.c.expires_at).where(
    responses.c.id == bindparam("of_id"),
    responses.c.conversation_id.is_not(None),
    responses.c.conversation_position.is_(None),
)
_input = (
    select(response_items.c.data)
    .where(response_items.c.response_id == bindparam("of_id"), response_items.c.side == INPUT)
    .order_by(response_items.c.position)
)
_mark_appended = (
    update(responses).where(responses.c.id == bindparam("of_id")).values(conversation_position=bindparam("first"))
)


class NewResponse(Struct, frozen=True):
    """A response that is to be kept, with its items."""

    response: StoredResponse
    input_items: Sequence[Item] = ()
    output_items: Sequence[Item] = ()


class Change(Struct, frozen=True):
    """What becomes of a response that is kept."""

    status: Status
    body: bytes
    completed_at: float | None
    output_items: Sequence[Item] | None


def insert(connection: Connection, saves: Sequence[NewResponse]) -> None:
    """Insert responses with their items, as few statements as there are tables; known ids are left as they are."""
    dialect = connection.dialect.name
    connection.execute(_insert_response(dialect), [_response_row(save.response) for save in saves])
    items = [
        row
        for save in saves
        for side, side_items in ((INPUT, save.input_items), (OUTPUT, save.output_items))
        for row in rows.item_rows(save.response.id, save.response.caller, side, side_items)
    ]
    if items:
        connection.execute(rows.insert_new(response_items, dialect), items)
    # In one order everywhere, so that two who append to the same conversations cannot wait for each other.
    for save in sorted(saves, key=lambda save: save.response.conversation_id or ""):
        if save.response.conversation_id is not None and save.response.status in CONTINUABLE:
            _append_finished(connection, save.response.id, save.input_items, save.output_items)


def change(connection: Connection, statement: Update, values: dict[str, Any], to: Change) -> bool:
    """Change one response.

    Args:
        connection: In a transaction.
        statement: Finds the response, by ``of_id`` among others.
        values: For its parameters.
        to: What it becomes.

    Returns:
        Whether it was found.
    """
    changed = connection.execute(statement.values(status=to.status, body=to.body, completed_at=to.completed_at), values)
    if changed.rowcount != 1:
        return False
    response_id = values["of_id"]
    caller = values["of_caller"]
    if to.output_items is not None:
        connection.execute(_clear_output, {"of_id": response_id})
        items = rows.item_rows(response_id, caller, OUTPUT, to.output_items)
        if items:
            connection.execute(rows.insert_new(response_items, connection.dialect.name), items)
    if to.status in CONTINUABLE:
        _append_finished(connection, response_id, None, to.output_items or ())
    return True


def _append_finished(
    connection: Connection, response_id: str, input_items: Sequence[Item] | None, output_items: Sequence[Item]
) -> None:
    """Append a finished response to its conversation, if it has one and that has not been done."""
    row = connection.execute(_unappended, {"of_id": response_id}).one_or_none()
    if row is None:
        return
    if input_items is None:
        found = connection.execute(_input, {"of_id": response_id})
        input_items = [codec.decode(data) for data in found.scalars()]
    first = rows.append(connection, row[0], row[1], [*input_items, *output_items], row[2])
    if first is not None:
        connection.execute(_mark_appended, {"of_id": response_id, "first": first})


@cache
def _insert_response(dialect: str) -> Insert:
    return rows.insert_new(responses, dialect).values(_values)


def _response_row(response: StoredResponse) -> dict[str, Any]:
    return {
        "id": response.id,
        "caller": response.caller,
        "created_at": response.created_at,
        "status": response.status,
        "model": key(response.model),
        "body": response.body,
        "completed_at": response.completed_at,
        "previous_response_id": response.previous_response_id,
        "conversation_id": response.conversation_id,
        "background": response.background,
        "expires_at": response.expires_at,
        "parent_id": response.previous_response_id,
        "parent_caller": response.caller,
        "own_id": response.id,
    }
