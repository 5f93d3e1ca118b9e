"""The record of one exchange: read alike by the log, the limits, the store and the metrics."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from app.core.cost import Cost
from app.core.usage import Usage

Ending = Literal["completed", "failed", "refused", "disconnected", "queued"]
"""How an exchange ended.

Answered whole; broke off or failed upstream; never sent; the client left; left to a worker.
"""


class Outcome(Struct, frozen=True):
    """One request with its answer, without any of its content.

    Attributes:
        request_id: What the client saw as ``x-request-id``.
        surface: What the client spoke.
        caller: The caller's public name.
        model: The model as the client named it.
        upstream_model: The model that was asked; ``None`` when it did not come to that.
        dialect: What was spoken to the upstream.
        stream: The client asked for a stream.
        status: The HTTP status that the client saw; 499 when it left before one.
        ending: How it ended.
        finish_reason: Why the model stopped.
        error_code: OpenAI's code of the failure, or its type where it has no code.
        upstream_status: The upstream's HTTP status.
        upstream_code: Cloudflare's own error code.
        upstream_request_id: Cloudflare's ``cf-ray``.
        usage: What was used; ``None`` when the upstream was never asked.
        cost: What that cost.
        dropped: Fields that could not be sent.
        adjusted: Fields whose value had to be changed.
        began: When the request arrived, in Unix seconds.
        seconds: From the request's arrival to its end.
        first_byte_seconds: From the request's arrival to the first byte of the answer.
        account: The account that was asked last, by its name; ``None`` when none was.
        upstream_attempts: The statuses of all calls of the upstream, 0 where none came; those of all choices.
        upstream_seconds: How long the upstream was waited for, the pauses between two calls among it; of several
            choices the longest.
        queue_seconds: Likewise for a turn at the account's own limits.
        own_seconds: The rest of ``seconds``: without these two, and without the waits for the request's body, for the
            limits' network, for what the request names elsewhere, and for a client that is slow to take the answer;
            ``None`` where it was not measured.
    """

    request_id: str
    surface: str
    caller: str
    model: str | None
    upstream_model: str | None
    dialect: str | None
    stream: bool
    status: int
    ending: Ending
    finish_reason: str | None
    error_code: str | None
    upstream_status: int | None
    upstream_code: int | None
    upstream_request_id: str | None
    usage: Usage | None
    cost: Cost | None
    dropped: tuple[str, ...]
    adjusted: tuple[str, ...]
    began: float
    seconds: float
    first_byte_seconds: float | None
    account: str | None = None
    upstream_attempts: tuple[int, ...] = ()
    upstream_seconds: float = 0.0
    queue_seconds: float = 0.0
    own_seconds: float | None = None
