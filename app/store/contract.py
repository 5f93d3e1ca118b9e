"""What the store keeps and what it can be asked: the one contract that every database fulfils.

Rules that hold everywhere:

* What belongs to another caller behaves exactly as what does not exist.
* Items are JSON objects, each with a text in ``id``; nobody but the store's caller makes ids and reads clocks.
* What changes something returns only when that is committed.
* A database that is gone, locked or full is ``StoreUnavailable``: 503.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, TypeAlias

from app.core.errors import Overloaded

Status = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
"""How a response stands."""

OPEN: Final[frozenset[Status]] = frozenset({"queued", "in_progress"})
"""The statuses that a response leaves again."""

CONTINUABLE: Final[frozenset[Status]] = frozenset({"completed", "incomplete"})
"""The statuses of a response that another one may continue."""

Order = Literal["asc", "desc"]

Item: TypeAlias = Mapping[str, Any]
"""An input or output item, or an item of a conversation: a JSON object with an ``id``."""

Frame: TypeAlias = tuple[int, bytes]
"""One event of a stream: its sequence number and its bytes as they went to the client."""


class StoreUnavailable(Overloaded):
    """503: the database does not answer, is locked, or its disk is full."""

    code = "store_unavailable"
    default_message = "Stored responses are not available at the moment. Please try again later."


class StoreError(Exception):
    """The store cannot be opened; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response without its items.

    Attributes:
        id: Its id.
        caller: The id of the caller whose it is.
        created_at: When it was asked for, in Unix seconds.
        status: How it stands. This is the truth: ``body`` may still tell an earlier status while work goes on.
        model: As the client named it.
        body: The Response object, JSON.
        completed_at: When it was completed.
        previous_response_id: The response that it continues.
        conversation_id: The conversation that it belongs to; never together with ``previous_response_id``.
        background: It is background work, so it may be cancelled.
        expires_at: When it may be purged; ``None`` for never. A response that a living one continues is kept for it.
    """

    id: str
    caller: str
    created_at: float
    status: Status
    model: str
    body: bytes
    completed_at: float | None = None
    previous_response_id: str | None = None
    conversation_id: str | None = None
    background: bool = False
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """All that came before, oldest first: of each response its input, then its output."""

    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class BrokenContext:
    """A context that cannot be continued.

    Attributes:
        response_id: The response at fault.
        reason: It is unknown (or was deleted, or is another caller's), it is still being made, or it came to
            nothing (failed or cancelled).
    """

    response_id: str
    reason: Literal["unknown", "unfinished", "failed"]


@dataclass(frozen=True, slots=True)
class Page:
    """Some items of a longer list.

    Attributes:
        items: In the order that was asked for.
        has_more: There are more after these.
    """

    items: tuple[Item, ...]
    has_more: bool


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation without its items.

    Attributes:
        id: Its id.
        caller: The id of the caller whose it is.
        created_at: When it was made, in Unix seconds.
        metadata: What the client noted on it.
        expires_at: When it may be purged; ``None`` for never.
    """

    id: str
    caller: str
    created_at: float
    metadata: Mapping[str, Any] = field(default_factory=dict)
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """The right of one worker to do one piece of background work until ``lease_until``.

    Attributes:
        response: The response to make, ``in_progress`` from now on.
        request: What was given to ``enqueue``.
        worker: Who holds it.
        attempt: 1 for the first worker, one more each time that a lease ran out. Whoever finds it too high
            finishes the work as failed.
        lease_until: When others may claim it.
        last_sequence: The highest sequence number that an earlier attempt has logged; ``None`` when there is none.
    """

    response: StoredResponse
    request: bytes
    worker: str
    attempt: int
    lease_until: float
    last_sequence: int | None = None


@dataclass(frozen=True, slots=True)
class Events:
    """Some of a response's event log, and how the response stood at the same instant.

    When ``status`` is not in ``OPEN`` and ``more`` is false, nothing will ever follow ``frames``.

    Attributes:
        status: How the response stands.
        frames: In the order of their sequence numbers.
        more: The log goes on: ask again after the last frame.
    """

    status: Status
    frames: tuple[Frame, ...]
    more: bool = False


@dataclass(frozen=True, slots=True)
class Purged:
    """What one call of ``purge`` did.

    Attributes:
        responses: Responses that are gone for good.
        conversations: Conversations likewise.
        items: Items of both.
        events: Batches of events.
        more: A bound was met: call again.
    """

    responses: int = 0
    conversations: int = 0
    items: int = 0
    events: int = 0
    more: bool = False


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
