"""Records to rows and back, and the statements that several subjects share."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any

from sqlalchemy import Insert, Table, bindparam, case, select, update
from sqlalchemy.engine import Connection

from app.core.errors import BadRequest
from app.store.contract import Conversation, Frame, Item, StoredResponse
from app.store.schema import conversation_items, conversations, key, responses
from app.wire import codec

RESPONSE = (
    responses.c.id,
    responses.c.caller,
    responses.c.created_at,
    responses.c.status,
    responses.c.model,
    responses.c.body,
    responses.c.completed_at,
    responses.c.previous_response_id,
    responses.c.conversation_id,
    responses.c.background,
    responses.c.expires_at,
)
"""The columns of a ``StoredResponse``, in its order."""

CONVERSATION = (
    conversations.c.id,
    conversations.c.caller,
    conversations.c.created_at,
    conversations.c.metadata,
    conversations.c.expires_at,
)
"""The columns of a ``Conversation``, in its order."""

_FRAME = struct.Struct("<qI")
"""Before each frame of a batch: its sequence number and its length."""

_move = (
    update(conversations)
    .where(
        conversations.c.id == bindparam("of_id"),
        conversations.c.caller == bindparam("of_caller"),
        ~conversations.c.gone,
    )
    .values(
        next_position=conversations.c.next_position + bindparam("count"),
        # Only ever later; one that is kept for ever stays so.
        expires_at=case(
            (conversations.c.expires_at < bindparam("until"), bindparam("until")), else_=conversations.c.expires_at
        ),
    )
    .returning(conversations.c.next_position)
)


def insert_into(table: Table, dialect: str) -> Any:  # noqa: ANN401 - the INSERT of one of two dialects
    """An INSERT that knows ``ON CONFLICT``. Of the two dialects only the one in use is ever imported."""
    return import_module(f"sqlalchemy.dialects.{dialect}").insert(table)


@cache
def insert_new(table: Table, dialect: str) -> Insert:
    """A statement that inserts what is not there yet."""
    statement: Insert = insert_into(table, dialect).on_conflict_do_nothing()
    return statement


def response(row: Sequence[Any]) -> StoredResponse:
    """Read a row of ``RESPONSE``."""
    return StoredResponse(*row)


def conversation(row: Sequence[Any]) -> Conversation:
    """Read a row of ``CONVERSATION``."""
    return Conversation(row[0], row[1], row[2], codec.decode(row[3]), row[4])


def item_rows(response_id: str, caller: str, side: int, items: Sequence[Item]) -> list[dict[str, Any]]:
    """Write the items of one side of a response."""
    return [
        {
            "response_id": response_id,
            "side": side,
            "position": position,
            "caller": caller,
            "item_key": key(item["id"]),
            "data": codec.encode(item),
        }
        for position, item in enumerate(items)
    ]


def append(
    connection: Connection, caller: str, conversation_id: str, items: Sequence[Item], expires_at: float | None
) -> int | None:
    """Append items to a conversation, except those that it has.

    Returns:
        The position of the first; ``None`` when there is no such conversation.
    """
    # Moving the end first also keeps others from appending until this is committed.
    moved = connection.execute(
        _move, {"of_id": key(conversation_id), "of_caller": caller, "count": len(items), "until": expires_at}
    )
    end: int | None = moved.scalar()
    if end is None:
        return None
    first = end - len(items)
    if items:
        connection.execute(
            insert_new(conversation_items, connection.dialect.name),
            [
                {
                    "conversation_id": conversation_id,
                    "position": position,
                    "caller": caller,
                    "item_key": key(item["id"]),
                    "data": codec.encode(item),
                }
                for position, item in enumerate(items, first)
            ],
        )
    return first


def event_row(response_id: str, frames: Sequence[Frame], now: float) -> dict[str, Any]:
    """Write a batch of events as one row."""
    return {
        "response_id": response_id,
        "first": frames[0][0],
        "last": frames[-1][0],
        "created_at": now,
        "data": b"".join(part for number, frame in frames for part in (_FRAME.pack(number, len(frame)), frame)),
    }


def unpack(data: bytes, after: int) -> list[Frame]:
    """Read the events of a batch that come after a sequence number."""
    frames: list[Frame] = []
    at = 0
    while at < len(data):
        number, length = _FRAME.unpack_from(data, at)
        at += _FRAME.size
        if number > after:
            frames.append((number, data[at : at + length]))
        at += length
    return frames


def no_such_cursor(after: str) -> BadRequest:
    """The error for a list that is to go on after an item that it does not hold."""
    return BadRequest(f"There is no item with id '{after[:100]}' in this list.", param="after")


find_response = select(*RESPONSE).where(
    responses.c.id == bindparam("id"), responses.c.caller == bindparam("caller"), ~responses.c.gone
)
"""Finds one response of one caller."""
