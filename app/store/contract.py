"""What the store keeps and what it can be asked: the one contract that every database fulfils.

Rules that hold everywhere:

* What belongs to another caller behaves exactly as what does not exist.
* Items are JSON objects, each with a text in ``id``; nobody but the store's caller makes ids and reads clocks.
* What changes something returns only when that is committed.
* A database that is gone, locked or full is ``StoreUnavailable``: 503.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from app.core.errors import Overloaded
from app.store.accounts import KeyRecords, UsageLedger
from app.store.batching import Batches, BatchLines, BatchPacks
from app.store.filing import Files
from app.store.kept import (
    CONTINUABLE,
    OPEN,
    BrokenContext,
    Claim,
    Context,
    Conversation,
    Events,
    Frame,
    Item,
    Order,
    Page,
    Purged,
    Status,
    StoredResponse,
)

__all__ = [
    "CONTINUABLE",
    "OPEN",
    "BrokenContext",
    "Claim",
    "Context",
    "Conversation",
    "Conversations",
    "Events",
    "Frame",
    "Item",
    "Order",
    "Page",
    "Purged",
    "Responses",
    "Status",
    "Store",
    "StoreError",
    "StoreUnavailable",
    "StoredResponse",
    "Work",
]


class StoreUnavailable(Overloaded):
    """503: the database does not answer, is locked, or its disk is full."""

    code = "store_unavailable"
    default_message = "The store is not available at the moment. Please try again later."


class StoreError(Exception):
    """The store cannot be opened, or a record in it cannot be read; the message says why."""


class Responses(Protocol):
    """Responses and their items."""

    async def save(
        self, response: StoredResponse, input_items: Sequence[Item] = (), output_items: Sequence[Item] = ()
    ) -> None:
        """Keep a response. Saving an id a second time changes nothing.

        Of a continuable response that belongs to a conversation, input and output are appended to it in the same
        transaction; should the conversation be gone by now, the response is kept all the same.

        Args:
            response: The response.
            input_items: Its own input, without what came before it.
            output_items: Its output.
        """

    async def get(self, caller: str, response_id: str) -> StoredResponse | None:
        """Find a response."""

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
        """Change a response if it stands as expected; of several who try at once, one wins.

        Args:
            caller: Whose it is.
            response_id: Which.
            expected: The statuses that may be left.
            status: The new one.
            body: The new Response object.
            completed_at: When it was completed.
            output_items: Its output from now on; ``None`` leaves what there is.

        Returns:
            Whether it was changed.
        """

    async def delete(self, caller: str, response_id: str) -> bool:
        """Delete a response with its items, events and unfinished work; false when there is none."""

    async def context(self, caller: str, response_id: str) -> Context | BrokenContext:
        """Collect what a response with this ``previous_response_id`` is to know, in one query."""

    async def input_items(
        self, caller: str, response_id: str, *, after: str | None = None, limit: int = 20, order: Order = "desc"
    ) -> Page | None:
        """List the items that a response was made from: all that came before it, and its own input.

        An id that comes more than once is listed where it came first.

        Returns:
            A page; ``None`` when there is no such response.

        Raises:
            BadRequest: There is no item ``after`` in this list.
        """

    async def item(self, caller: str, item_id: str) -> Item | None:
        """Find one item of the caller's responses and conversations."""

    async def items(self, caller: str, item_ids: Collection[str]) -> dict[str, Item]:
        """Find several, by id; unknown ones are absent. Outputs go before inputs, newer before older."""


class Conversations(Protocol):
    """Conversations and their items."""

    async def create(self, conversation: Conversation, items: Sequence[Item] = ()) -> None:
        """Keep a new conversation."""

    async def get(self, caller: str, conversation_id: str) -> Conversation | None:
        """Find a conversation."""

    async def update(self, caller: str, conversation_id: str, metadata: Mapping[str, Any]) -> Conversation | None:
        """Replace the metadata; ``None`` when there is no such conversation."""

    async def delete(self, caller: str, conversation_id: str) -> bool:
        """Delete a conversation with its items; false when there is none."""

    async def add(
        self, caller: str, conversation_id: str, items: Sequence[Item], *, expires_at: float | None = None
    ) -> bool:
        """Append items, except those whose ids it has already; false when there is no such conversation.

        Args:
            caller: Whose it is.
            conversation_id: Which.
            items: What to append.
            expires_at: A later time of purging; ``None`` leaves it.
        """

    async def items(
        self, caller: str, conversation_id: str, *, after: str | None = None, limit: int = 20, order: Order = "desc"
    ) -> Page | None:
        """List the items.

        Returns:
            A page; ``None`` when there is no such conversation.

        Raises:
            BadRequest: There is no item ``after`` in it.
        """

    async def context(self, caller: str, conversation_id: str) -> Context | None:
        """Collect all items, oldest first; ``None`` when there is no such conversation."""

    async def item(self, caller: str, conversation_id: str, item_id: str) -> Item | None:
        """Find one item; ``None`` when there is no such item or conversation."""

    async def remove(self, caller: str, conversation_id: str, item_id: str) -> Conversation | None:
        """Remove one item and return the conversation; ``None`` when there is no such item or conversation."""


class Work(Protocol):
    """Background work: a queue with leases, and the log of what was streamed.

    Of a worker that finishes and a caller who cancels, exactly one wins. A worker that has lost its claim, by
    cancellation, deletion or a lease that ran out, is told so by ``renew``, ``append_events`` and ``finish``.
    """

    async def enqueue(self, response: StoredResponse, input_items: Sequence[Item], request: bytes) -> None:
        """Keep a queued response and the work of making it.

        Args:
            response: With the status ``queued``.
            input_items: Its own input.
            request: Whatever a worker needs, after a restart too. It is forgotten when the work is done.
        """

    async def claim(self, worker: str, now: float, lease_seconds: float) -> Claim | None:
        """Take the oldest work that nobody holds, and mark its response ``in_progress``; ``None`` if there is none."""

    async def renew(self, claim: Claim, now: float, lease_seconds: float) -> bool:
        """Hold on to a claim; false when it is lost."""

    async def release(self, claim: Claim) -> bool:
        """Give work back unfinished, as on a shutdown: it can be claimed at once, and the attempt does not count."""

    async def finish(
        self,
        claim: Claim,
        *,
        status: Status,
        body: bytes,
        now: float,
        completed_at: float | None = None,
        output_items: Sequence[Item] = (),
        events: Sequence[Frame] = (),
    ) -> bool:
        """End the work: the final response and the last events in one transaction; false when the claim is lost."""

    async def cancel(self, caller: str, response_id: str) -> StoredResponse | None:
        """Cancel background work that is not finished.

        Returns:
            The response as it stands afterwards, which is not ``cancelled`` if it had ended before; ``None`` when
            there is no such response.
        """

    async def append_events(self, claim: Claim, events: Sequence[Frame], now: float) -> bool:
        """Log a batch of events, as one row; false when the claim is lost. Batch them: each call is a commit."""

    async def events(self, caller: str, response_id: str, *, after: int = -1, limit: int = 256) -> Events | None:
        """Read the log.

        Args:
            caller: Whose it is.
            response_id: Which response.
            after: Only events with a higher sequence number.
            limit: The most batches to read at once.

        Returns:
            Its events; ``None`` when there is no such response.
        """


class Store(Protocol):
    """An open database."""

    @property
    def responses(self) -> Responses:
        """Responses and their items."""

    @property
    def conversations(self) -> Conversations:
        """Conversations and their items."""

    @property
    def work(self) -> Work:
        """Background work."""

    @property
    def keys(self) -> KeyRecords:
        """The callers' keys."""

    @property
    def usage(self) -> UsageLedger:
        """What the callers have used."""

    @property
    def files(self) -> Files:
        """Files, without their bytes."""

    @property
    def batches(self) -> Batches:
        """Batches."""

    @property
    def batch_lines(self) -> BatchLines:
        """The lines of batches."""

    @property
    def batch_packs(self) -> BatchPacks:
        """Lines in the upstream's own queue."""

    async def purge(self, now: float, *, limit: int = 500, events_before: float | None = None) -> Purged:
        """Delete what has expired, in transactions of at most ``limit`` rows; call again while there is more.

        Args:
            now: The time.
            limit: The most rows of one transaction.
            events_before: Event logs written before this time are deleted, though their response is kept.
        """

    async def ping(self) -> None:
        """Ask the database for nothing.

        Raises:
            StoreUnavailable: It does not answer.
        """

    async def close(self) -> None:
        """Finish what was begun, and let go of the database."""
