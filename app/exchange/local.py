"""What one connection remembers: answers that are not stored anywhere, so that it can continue them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from app.core.caller import Caller
from app.core.errors import BadRequest
from app.core.request import GenerationRequest
from app.core.surface import Past, Wants
from app.exchange.memory import Memory
from app.store.contract import CONTINUABLE, Item, StoredResponse
from app.wire.codec import encode

MAX_RESPONSES: Final = 16
"""How many of the latest answers are remembered: clients continue the last one, and sometimes go back a little."""


class Remembered(Struct, frozen=True):
    """One answer with all that came before it.

    Attributes:
        items: Input and output, oldest first; what came before is shared with the answer that it continues.
        size: Its bytes, with those of all that came before.
    """

    items: tuple[Item, ...]
    size: int


class LocalMemory(Memory):
    """The memory of one connection, in front of the one that everybody shares.

    Args:
        shared: What everybody shares.
        max_bytes: The most that is remembered here.
    """

    def __init__(self, shared: Memory, max_bytes: int) -> None:
        super().__init__(shared.store, shared.seal, shared.new_id, shared.clock, shared.seconds)
        self._max_bytes = max_bytes
        self._responses: dict[str, Remembered] = {}

    async def context(self, caller: Caller, wants: Wants) -> tuple[Item, ...]:
        """All that came before, from here or from what is shared.

        Raises:
            BadRequest: The response that it continues is in neither, or cannot be continued.
            NotFound: Its conversation is not there.
        """
        found = self._responses.get(wants.previous or "") if wants.conversation is None else None
        if found is not None:
            return found.items
        if wants.previous is not None and self.store is None:
            message = f"Previous response with id '{wants.previous[:128]}' not found."
            raise BadRequest(message, param="previous_response_id", code="previous_response_not_found")
        return await super().context(caller, wants)

    async def single(self, caller: Caller, item_ids: Collection[str]) -> Mapping[str, Item]:
        """Single items, from here and from what is shared."""
        own = {item["id"]: item for kept in self._responses.values() for item in kept.items}
        return {**{name: own[name] for name in item_ids if name in own}, **await super().single(caller, item_ids)}

    def inputs(self, request: GenerationRequest, past: Past) -> list[dict[str, Any]]:
        """A request's input, as it is stored: with all that came before, where nobody else could find that."""
        own = super().inputs(request, past)
        return [*map(dict, past.context), *own] if self._continues_here(request) else own

    def stored(self, caller: Caller, request: GenerationRequest, final: Mapping[str, Any]) -> StoredResponse:
        """The record of a response; it does not point at one that is remembered here only."""
        record = super().stored(caller, request, final)
        return replace(record, previous_response_id=None) if self._continues_here(request) else record

    def remember(self, request: GenerationRequest, past: Past, final: Mapping[str, Any], size: int) -> None:
        """Remember an answer that is not kept otherwise.

        Args:
            request: What was asked.
            past: What came before.
            final: The answer.
            size: Bytes of the request.
        """
        if request.keep or final["status"] not in CONTINUABLE:
            return
        before = self._responses.get(request.raw.get("previous_response_id") or "")
        output = final["output"]
        size += len(encode(output)) + (before.size if before is not None else 0)
        if size > self._max_bytes:
            return
        items = (*past.context, *super().inputs(request, past), *output)
        self._responses[final["id"]] = Remembered(items, size)
        while len(self._responses) > MAX_RESPONSES or self._bytes() > self._max_bytes:
            del self._responses[next(iter(self._responses))]

    def forget(self, response_id: str) -> None:
        """Forget an answer whose continuation failed: the client begins again with the whole conversation."""
        self._responses.pop(response_id, None)

    def _bytes(self) -> int:
        return sum(kept.size for kept in self._responses.values())

    def _continues_here(self, request: GenerationRequest) -> bool:
        return request.raw.get("previous_response_id") in self._responses
