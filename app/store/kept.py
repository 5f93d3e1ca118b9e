"""What the store keeps, as plain records. Their names are those of ``app.store.contract``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct, field

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


class StoredResponse(Struct, frozen=True):
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


class Context(Struct, frozen=True):
    """All that came before, oldest first: of each response its input, then its output."""

    items: tuple[Item, ...]


class BrokenContext(Struct, frozen=True):
    """A context that cannot be continued.

    Attributes:
        response_id: The response at fault.
        reason: It is unknown (or was deleted, or is another caller's), it is still being made, or it came to
            nothing (failed or cancelled).
    """

    response_id: str
    reason: Literal["unknown", "unfinished", "failed"]


class Page(Struct, frozen=True):
    """Some items of a longer list.

    Attributes:
        items: In the order that was asked for.
        has_more: There are more after these.
    """

    items: tuple[Item, ...]
    has_more: bool


class Conversation(Struct, frozen=True):
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


class Claim(Struct, frozen=True):
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


class Events(Struct, frozen=True):
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


class Purged(Struct, frozen=True):
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
