"""What a caller said and got before: recalled for a request, and kept after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from app.core.caller import Caller
from app.core.errors import BadRequest, NotFound
from app.core.request import GenerationRequest
from app.core.surface import NO_PAST, NOTHING, NewId, Past, Wants
from app.keys.seal import Seal
from app.store.contract import BrokenContext, Item, Store, StoredResponse
from app.surfaces.responses.stored import input_items, to_store
from app.surfaces.responses.unserved import conversation_id
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
        self._seal = seal
        self._new_id = new_id
        self._clock = clock
        self._seconds = seconds

    async def recall(self, caller: Caller, wants: Wants) -> Past:
        """Fetch what a request only names. Single items that are not found are left to its reader.

        Raises:
            BadRequest: The response that it continues is not there, or cannot be continued.
            NotFound: Its conversation is not there.
        """
        if wants == NOTHING:
            return NO_PAST
        opened: dict[str, str] = {}
        for kind, sealed in wants.sealed:
            text = self._seal().open(caller.id, kind, sealed)
            if text is not None:
                opened[sealed] = text
        if self.store is None:
            return Past(opened=opened)
        context: tuple[Item, ...] = ()
        # Given together they are refused by the request's reader.
        if wants.previous is not None and wants.conversation is None:
            context = await self._before(caller, self.store, wants.previous)
        elif wants.conversation is not None and wants.previous is None:
            found = await self.store.conversations.context(caller.id, wants.conversation)
            if found is None:
                raise NotFound(f"Conversation with id '{wants.conversation[:128]}' not found.", param="conversation")
            context = found.items
        items = await self.store.responses.items(caller.id, wants.items) if wants.items else {}
        return Past(context, items, opened)

    def sealer(self, caller: Caller) -> Callable[[str, str], str]:
        """Seals texts for a caller."""
        return lambda kind, text: self._seal().seal(caller.id, kind, text)

    def inputs(self, request: GenerationRequest, past: Past) -> list[dict[str, Any]]:
        """A request's own input, as it is stored."""
        return to_store(input_items(request.raw, past.items), self._new_id)

    def expiry(self) -> float | None:
        """When what is kept now may be forgotten."""
        return None if self._seconds is None else self._clock() + self._seconds

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
