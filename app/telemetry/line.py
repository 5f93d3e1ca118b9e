"""The canonical line of an exchange: which fields it has, and what they mean. The documentation reads it too."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from app.core.outcome import Outcome

LONGEST_NAME: Final = 96
"""Of a model's name that is logged: it is a client's word, and no model has a longer one."""

MEANINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "time": "when it was written, in UTC",
        "event": "`exchange`; other lines of the log have `log`",
        "request_id": "what the client got as `x-request-id`",
        "surface": "what the client spoke",
        "caller": "the key's public id",
        "model": "the model as the client named it",
        "upstream_model": "the model that was asked",
        "dialect": "what was spoken to it",
        "account": "the account that was asked last: `account-1` is the first of the settings",
        "stream": "the client asked for a stream",
        "status": "the HTTP status; 499 when the client left before there was one",
        "ending": "`completed`, `failed`, `refused` (never sent), `disconnected` (the client left) or `queued`",
        "finish_reason": "why the model stopped",
        "error_code": "OpenAI's code of the failure, or its type",
        "upstream_status": "Cloudflare's HTTP status",
        "upstream_code": "Cloudflare's error code",
        "upstream_request_id": "Cloudflare's `cf-ray`",
        "upstream_attempts": "the statuses of all calls of Cloudflare, such as `429,200`; 0 where none came",
        "prompt_tokens": "input",
        "completion_tokens": "output",
        "cached_tokens": "of the input, what came from Cloudflare's prefix cache",
        "reasoning_tokens": "of the output, what was spent on reasoning",
        "usage_source": "`reported` by Cloudflare, `summed` from what it reported, or `estimated`",
        "neurons": "what that cost in neurons",
        "cost_usd": "the same in US dollars",
        "cost_source": "as `usage_source`; `estimated` is computed from the prices",
        "dropped": "fields that could not be sent",
        "adjusted": "fields that were sent with another value",
        "ms": "milliseconds from the request's arrival to its end",
        "first_byte_ms": "likewise to the answer's first byte",
        "upstream_ms": "of `ms`, the wait for Cloudflare",
        "queue_ms": "of `ms`, the wait for a turn at the account's limits",
        "own_ms": "of `ms`, what the proxy itself took",
    }
)
"""Every field that a line may have, in its order; what there was not is left out."""


def outcome_fields(outcome: Outcome) -> dict[str, Any]:
    """The canonical line's fields, absent ones left out."""
    usage, cost = outcome.usage, outcome.cost
    values: dict[str, Any] = {
        "request_id": outcome.request_id,
        "surface": outcome.surface,
        "caller": outcome.caller,
        "model": shown(outcome.model),
        "upstream_model": outcome.upstream_model,
        "dialect": outcome.dialect,
        "account": outcome.account,
        "stream": outcome.stream,
        "status": outcome.status,
        "ending": outcome.ending,
        "finish_reason": outcome.finish_reason,
        "error_code": outcome.error_code,
        "upstream_status": outcome.upstream_status,
        "upstream_code": outcome.upstream_code,
        "upstream_request_id": outcome.upstream_request_id,
        "upstream_attempts": ",".join(map(str, outcome.upstream_attempts)) or None,
    }
    if usage is not None:
        values["prompt_tokens"] = usage.prompt_tokens
        values["completion_tokens"] = usage.completion_tokens
        values["cached_tokens"] = usage.cached_tokens
        values["reasoning_tokens"] = usage.reasoning_tokens
        values["usage_source"] = usage.source
    if cost is not None:
        values["neurons"] = round(cost.neurons, 6)
        values["cost_usd"] = round(cost.usd, 9)
        values["cost_source"] = cost.source
    values["dropped"] = ",".join(outcome.dropped) or None
    values["adjusted"] = ",".join(outcome.adjusted) or None
    values["ms"] = _milliseconds(outcome.seconds)
    values["first_byte_ms"] = _milliseconds(outcome.first_byte_seconds)
    values["upstream_ms"] = _milliseconds(outcome.upstream_seconds or None)
    values["queue_ms"] = _milliseconds(outcome.queue_seconds or None)
    values["own_ms"] = _milliseconds(outcome.own_seconds)
    return {name: value for name, value in values.items() if value is not None}


def shown(name: str | None) -> str | None:
    """A client's word in one line of a terminal: not too long, and without what would steer it."""
    if name is None or (len(name) <= LONGEST_NAME and name.isprintable()):
        return name
    return "".join(sign if sign.isprintable() else "?" for sign in name[:LONGEST_NAME])


def line_table() -> str:
    """All fields as a Markdown table."""
    rows = [f"| `{name}` | {meaning} |" for name, meaning in MEANINGS.items()]
    return "\n".join(["| Field | Meaning |", "|---|---|", *rows]) + "\n"


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
