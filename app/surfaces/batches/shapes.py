"""What a client asks for in a batch, the Batch object, and the lines of its output and error files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from app.core.errors import ApiError, BadRequest
from app.surfaces import fields
from app.surfaces.files.shapes import expiry
from app.wire.codec import encode

ENDPOINTS: Final = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings")
"""Where the lines of a batch may go."""

WINDOW: Final = "24h"
WINDOW_SECONDS: Final = 86_400

TIMES: Final = (
    "in_progress_at",
    "finalizing_at",
    "completed_at",
    "failed_at",
    "expired_at",
    "cancelling_at",
    "cancelled_at",
)
"""The times of a batch's life, as its object names them."""

UNSENT: Final[Mapping[str, tuple[str, str]]] = {
    "expired": ("batch_expired", "This request could not be executed before the completion window expired."),
    "cancelled": ("batch_cancelled", "This request was not executed because the batch was cancelled."),
}
"""Why a line was never asked, by the status in which its batch ended: the code and the sentence."""


class BatchRequest(Struct, frozen=True):
    """A batch as it was asked for.

    Attributes:
        input_file_id: The file with its lines.
        endpoint: Where they go.
        metadata: What the client noted on it.
        output_seconds: How long its files are kept; ``None`` when nothing is said.
    """

    input_file_id: str
    endpoint: str
    metadata: Mapping[str, str] | None
    output_seconds: int | None


class BatchFigures(Struct, frozen=True):
    """What is counted of a batch.

    Attributes:
        total: Lines.
        completed: Lines with a good answer.
        failed: Lines with an error.
        input_tokens: Of good answers, as all that follow; cached ones included.
        cached_tokens: Of the input, from a prefix cache.
        output_tokens: Produced, reasoning included.
        reasoning_tokens: Of the output, reasoning.
    """

    total: int
    completed: int
    failed: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int


def read_create(body: Mapping[str, Any]) -> BatchRequest:
    """Read the body of a request for a batch.

    Raises:
        BadRequest: With the path of the field at fault.
    """
    file_id = fields.need(fields.string(body, "input_file_id", min_length=1), "input_file_id")
    endpoint = fields.need(fields.one_of(body, "endpoint", ENDPOINTS), "endpoint")
    fields.need(fields.one_of(body, "completion_window", (WINDOW,)), "completion_window")
    return BatchRequest(file_id, endpoint, fields.metadata(body), expiry(body, "output_expires_after"))


def batch_object(
    batch_id: str,
    *,
    status: str,
    endpoint: str,
    input_file_id: str,
    created_at: float,
    expires_at: float,
    details: Mapping[str, Any],
    figures: BatchFigures,
) -> dict[str, Any]:
    """OpenAI's Batch object.

    Args:
        batch_id: Its id.
        status: How it stands.
        endpoint: Where its lines go.
        input_file_id: The file with its lines.
        created_at: When it was made.
        expires_at: When it expires.
        details: ``TIMES``, ``metadata``, ``model``, ``errors``, ``output_file_id`` and ``error_file_id``, as far as
            there are any.
        figures: What is counted.
    """
    errors = details.get("errors")
    times = {name: None if details.get(name) is None else int(details[name]) for name in TIMES}
    return {
        "id": batch_id,
        "object": "batch",
        "endpoint": endpoint,
        "model": details.get("model"),
        "errors": {"object": "list", "data": errors} if errors else None,
        "input_file_id": input_file_id,
        "completion_window": WINDOW,
        "status": status,
        "output_file_id": details.get("output_file_id"),
        "error_file_id": details.get("error_file_id"),
        "created_at": int(created_at),
        "expires_at": int(expires_at),
        **times,
        "request_counts": {"total": figures.total, "completed": figures.completed, "failed": figures.failed},
        "usage": {
            "input_tokens": figures.input_tokens,
            "input_tokens_details": {"cached_tokens": figures.cached_tokens},
            "output_tokens": figures.output_tokens,
            "output_tokens_details": {"reasoning_tokens": figures.reasoning_tokens},
            "total_tokens": figures.input_tokens + figures.output_tokens,
        },
        "metadata": details.get("metadata"),
    }


def line_id(batch_id: str, number: int) -> str:
    """The id of a line's result; the same however often the file is written."""
    return f"batch_req_{batch_id.removeprefix('batch_')}{number:08d}"


def answered_line(line: str, custom_id: str, status: int, request_id: str, body: bytes) -> bytes:
    """A line of an output or error file: what an HTTP call would have answered.

    Args:
        line: The line's id.
        custom_id: What the client calls it.
        status: The HTTP status.
        request_id: What the client of an HTTP call would see as ``x-request-id``.
        body: The JSON of the answer.
    """
    head = encode({"id": line, "custom_id": custom_id})
    call = encode({"status_code": status, "request_id": request_id})
    # The answer is JSON already, and may be long.
    return b'%s,"response":%s,"body":%s},"error":null}' % (head[:-1], call[:-1], body)


def failed_line(line: str, custom_id: str, request_id: str, error: ApiError) -> bytes:
    """A line of an error file: the failure that an HTTP call would have answered."""
    return answered_line(line, custom_id, error.status, request_id, encode({"error": error.body()}))


def unsent_line(line: str, custom_id: str, status: str) -> bytes:
    """A line of an error file for a line that was never asked, of a batch that ended with this status."""
    code, message = UNSENT[status]
    return encode({"id": line, "custom_id": custom_id, "response": None, "error": {"code": code, "message": message}})


def usage_of(body: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """What an answer used: input, cached, output and reasoning tokens, of any of the endpoints."""
    usage = body.get("usage") or {}
    given = usage.get("input_tokens", usage.get("prompt_tokens", 0))
    made = usage.get("output_tokens", usage.get("completion_tokens", 0))
    cached = usage.get("input_tokens_details") or usage.get("prompt_tokens_details") or {}
    thought = usage.get("output_tokens_details") or usage.get("completion_tokens_details") or {}
    return given, cached.get("cached_tokens") or 0, made, thought.get("reasoning_tokens") or 0


def problem(code: str, message: str, *, line: int | None = None, param: str | None = None) -> dict[str, Any]:
    """One of a batch's errors."""
    return {"code": code, "line": line, "message": message, "param": param}


def cannot_be_cancelled(status: str) -> BadRequest:
    """The batch has ended already, or is about to."""
    return BadRequest(f"Cannot cancel a batch with status '{status}'.")
