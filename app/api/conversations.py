"""``/v1/conversations``: what several responses have in common, kept for the client."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from app.api.bodies import read_object
from app.api.caller import caller_id
from app.api.paging import page_body, read_cut
from app.api.routing import Routes
from app.core.errors import NotFound
from app.core.surface import NewId
from app.exchange.memory import Memory
from app.store.contract import Conversation, Store, StoreUnavailable
from app.surfaces.responses.stored import read_items, read_metadata
from app.wire.codec import encode

MAX_ITEMS = 20
"""How many items one call may bring."""


class Keeping(Struct, frozen=True):
    """What the routes of stored objects work with.

    Attributes:
        memory: Where they are.
        new_id: Makes ids.
        clock: Unix seconds.
        max_body_bytes: The largest request body that is read.
    """

    memory: Memory
    new_id: NewId
    clock: Callable[[], float]
    max_body_bytes: int

    @property
    def store(self) -> Store:
        """The open store."""
        store = self.memory.store
        if store is None:
            raise StoreUnavailable
        return store

    def until(self) -> float | None:
        """When what is stored now may be purged."""
        return self.memory.expiry()


def routes(keeping: Keeping) -> Routes:
    """Make the routes."""
    routes = Routes()

    async def create(request: Request) -> Response:
        body = await read_object(request, keeping.max_body_bytes)
        items = read_items(body, keeping.new_id, max_items=MAX_ITEMS) if body.get("items") is not None else []
        made = Conversation(
            keeping.new_id("conv_"), caller_id(request), int(keeping.clock()), read_metadata(body), keeping.until()
        )
        await keeping.store.conversations.create(made, items)
        return answer(_object(made))

    async def retrieve(request: Request, conversation_id: str) -> Response:
        return answer(
            _object(_found(await keeping.store.conversations.get(caller_id(request), conversation_id), conversation_id))
        )

    async def update(request: Request, conversation_id: str) -> Response:
        metadata = read_metadata(await read_object(request, keeping.max_body_bytes))
        found = await keeping.store.conversations.update(caller_id(request), conversation_id, metadata)
        return answer(_object(_found(found, conversation_id)))

    async def delete(request: Request, conversation_id: str) -> Response:
        if not await keeping.store.conversations.delete(caller_id(request), conversation_id):
            raise _missing(conversation_id)
        return answer({"id": conversation_id, "object": "conversation.deleted", "deleted": True})

    async def add_items(request: Request, conversation_id: str) -> Response:
        items = read_items(await read_object(request, keeping.max_body_bytes), keeping.new_id, max_items=MAX_ITEMS)
        added = await keeping.store.conversations.add(
            caller_id(request), conversation_id, items, expires_at=keeping.until()
        )
        if not added:
            raise _missing(conversation_id)
        return answer(page_body(items, has_more=False))

    async def list_items(request: Request, conversation_id: str) -> Response:
        cut = read_cut(request)
        page = await keeping.store.conversations.items(
            caller_id(request), conversation_id, after=cut.after, limit=cut.limit, order=cut.order
        )
        if page is None:
            raise _missing(conversation_id)
        return answer(page_body(page.items, has_more=page.has_more))

    async def retrieve_item(request: Request, conversation_id: str, item_id: str) -> Response:
        item = await keeping.store.conversations.item(caller_id(request), conversation_id, item_id)
        if item is None:
            raise NotFound(f"Item with id '{item_id[:128]}' not found in this conversation.")
        return answer(item)

    async def delete_item(request: Request, conversation_id: str, item_id: str) -> Response:
        left = await keeping.store.conversations.remove(caller_id(request), conversation_id, item_id)
        if left is None:
            raise NotFound(f"Item with id '{item_id[:128]}' not found in this conversation.")
        return answer(_object(left))

    for prefix in ("/v1", ""):
        one = f"{prefix}/conversations/{{conversation_id}}"
        routes.add(f"{prefix}/conversations", create, "POST")
        routes.add(one, retrieve, "GET")
        routes.add(one, update, "POST")
        routes.add(one, delete, "DELETE")
        routes.add(f"{one}/items", add_items, "POST")
        routes.add(f"{one}/items", list_items, "GET")
        routes.add(f"{one}/items/{{item_id}}", retrieve_item, "GET")
        routes.add(f"{one}/items/{{item_id}}", delete_item, "DELETE")
    return routes


def answer(body: Mapping[str, Any] | bytes) -> Response:
    """A JSON answer."""
    return Response(body if isinstance(body, bytes) else encode(body), media_type="application/json")


def _object(conversation: Conversation) -> dict[str, Any]:
    return {
        "id": conversation.id,
        "object": "conversation",
        "created_at": int(conversation.created_at),
        "metadata": conversation.metadata,
    }


def _found(conversation: Conversation | None, conversation_id: str) -> Conversation:
    if conversation is None:
        raise _missing(conversation_id)
    return conversation


def _missing(conversation_id: str) -> NotFound:
    return NotFound(f"Conversation with id '{conversation_id[:128]}' not found.")
