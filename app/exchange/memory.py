"""What a caller said and got before: recalled for a request, and kept after it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from app.core.caller import Caller
from app.core.errors import BadRequest, NotFound
from app.core.request import GenerationRequest
from app.core.surface import NO_PAST, NOTHING, NewId, Past, Wants
from app.keys.seal import Seal
from app.store.contract import BrokenContext, Item, Store, StoredResponse
from app.surfaces.responses.stored import input_items, to_store
from app.surfaces.responses.unserved import conversation_id
from app.surfaces.responses.wants import sealed_in
from app.wire.codec import encode

_BROKEN = {
    "unknown": "Previous response with id '{id}' not found.",
    "unfinished": "Previous response with id '{id}' is still being generated.",
    "failed": "Previous response with id '{id}' cannot be continued: it failed or was cancelled.",
}


class Memory:
    """Recalls and keeps.

    Args:
        store: Where; ``None`` when nothing is stored.
        seal: Seals what clients keep for us.
        new_id: Makes ids for items.
        clock: Unix seconds.
        seconds: How long an answer is kept; ``None`` for ever.

    Attributes are the arguments; ``store`` is set when it has been opened.
    """

    def __init__(
        self,
        store: Store | None,
        seal: Callable[[], Seal],
        new_id: NewId,
        clock: Callable[[], float],
        seconds: float | None,
    ) -> None:
        self.store = store
        self.seal = seal
        self.new_id = new_id
        self.clock = clock
        self.seconds = seconds

    async def recall(self, caller: Caller, wants: Wants) -> Past:
        """Fetch what a request only names. Single items that are not found are left to its reader.

        Raises:
            BadRequest: The response that it continues is not there, or cannot be continued.
            NotFound: Its conversation is not there.
        """
        if wants == NOTHING:
            return NO_PAST
        context = await self.context(caller, wants)
        items = await self.single(caller, wants.items) if wants.items else {}
        opened: dict[str, str] = {}
        for kind, sealed in (*wants.sealed, *sealed_in(context), *sealed_in(items.values())):
            text = self.seal().open(caller.id, kind, sealed)
            if text is not None:
                opened[sealed] = text
        return Past(context, items, opened)

    async def context(self, caller: Caller, wants: Wants) -> tuple[Item, ...]:
        """All that came before, oldest first.

        Raises:
            BadRequest: The response that it continues is not there, or cannot be continued.
            NotFound: Its conversation is not there.
        """
        if self.store is None:
            return ()
        # Given together they are refused by the request's reader.
        if wants.previous is not None and wants.conversation is None:
            return await self._before(caller, self.store, wants.previous)
        if wants.conversation is not None and wants.previous is None:
            found = await self.store.conversations.context(caller.id, wants.conversation)
            if found is None:
                raise NotFound(f"Conversation with id '{wants.conversation[:128]}' not found.", param="conversation")
            return found.items
        return ()

    async def single(self, caller: Caller, item_ids: Collection[str]) -> Mapping[str, Item]:
        """Single items, by id."""
        return {} if self.store is None else await self.store.responses.items(caller.id, item_ids)

    def sealer(self, caller: Caller) -> Callable[[str, str], str]:
        """Seals texts for a caller."""
        return lambda kind, text: self.seal().seal(caller.id, kind, text)

    def inputs(self, request: GenerationRequest, past: Past) -> list[dict[str, Any]]:
        """A request's own input, as it is stored."""
        return to_store(input_items(request.raw, past.items), self.new_id)

    def expiry(self) -> float | None:
        """When what is kept now may be forgotten."""
        return None if self.seconds is None else self.clock() + self.seconds

    async def keep(self, caller: Caller, request: GenerationRequest, past: Past, final: Mapping[str, Any]) -> None:
        """Keep an answer: it is on disk when this returns.

        Raises:
            StoreUnavailable: It could not be kept.
        """
        assert self.store is not None  # noqa: S101 - without a store no request asks to be kept
        response = self.stored(caller, request, final)
        await self.store.responses.save(response, self.inputs(request, past), final["output"])

    def stored(self, caller: Caller, request: GenerationRequest, final: Mapping[str, Any]) -> StoredResponse:
        """The record of a response."""
        return StoredResponse(
            id=final["id"],
            caller=caller.id,
            created_at=final["created_at"],
            status=final["status"],
            model=request.model,
            body=encode(final),
            completed_at=final["completed_at"],
            previous_response_id=request.raw.get("previous_response_id"),
            conversation_id=conversation_id(request.raw),
            background=final["background"],
            expires_at=self.expiry(),
        )

    async def _before(self, caller: Caller, store: Store, response_id: str) -> tuple[Item, ...]:
        found = await store.responses.context(caller.id, response_id)
        if isinstance(found, BrokenContext):
            message = _BROKEN[found.reason].format(id=found.response_id[:128])
            raise BadRequest(message, param="previous_response_id", code="previous_response_not_found")
        return found.items
