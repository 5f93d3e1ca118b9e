"""Cloudflare's failures as ours: one table by code, a second by HTTP status for those that carry no code we know.

Prose decides nothing, with two exceptions where a text is all there is: a prompt that does not fit the context
window, and a model that could not keep to JSON.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

from msgspec import Struct

from app.core.errors import (
    ApiError,
    BadRequest,
    Forbidden,
    NotFound,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    TooLarge,
    UpstreamBroken,
    UpstreamRefused,
    UpstreamTimeout,
)
from app.dialects.envelope import Facts, is_failure, read_body, read_object
from app.dialects.prose import explain_validation, is_overflow, is_unmet_json, shown

MAX_RETRY_AFTER: Final = 3600.0
"""A longer wait than this in ``Retry-After`` would trap clients that obey it."""

VALIDATION: Final = 5006
"""The code of a request that does not fit the model's schema."""

_DAY: Final = 86_400


class Entry(Struct, frozen=True):
    """What one failure becomes.

    Attributes:
        error: Its class, which knows the status and the type.
        message: Our sentence; ``None`` to show the upstream's own, made fit to be shown.
        code: OpenAI's code, where the class has not the right one.
        param: The field at fault.
        retry_after: Seconds to wait, unless the upstream says how long.
        until_midnight: The wait ends at 00:00 UTC.
    """

    error: type[ApiError]
    message: str | None = None
    code: str | None = None
    param: str | None = None
    retry_after: float | None = None
    until_midnight: bool = False


_CREDENTIALS = Entry(
    UpstreamRefused,
    "Workers AI refused this proxy's credentials. Operator: check that the Cloudflare API token is valid, belongs to "
    "the configured account and has the permission Workers AI - Read.",
)
_ADDRESS = Entry(
    UpstreamRefused,
    "Cloudflare does not know the configured account or address. Operator: check the account id (32 hexadecimal "
    "digits, not the token) and the upstream's base URL.",
)
_GATEWAY = Entry(
    UpstreamRefused,
    "Cloudflare's AI Gateway refused this proxy. Operator: check the gateway's name and, if it is an authenticated "
    "gateway, its token.",
)
_NO_MODEL = Entry(NotFound, "Workers AI has no such model.", code="model_not_found", param="model")
_CLIENT = Entry(BadRequest)
_SLOW = Entry(
    UpstreamTimeout,
    "Workers AI did not finish in time. Streaming and a smaller token limit make long answers possible.",
)
_QUOTA = Entry(QuotaExhausted, until_midnight=True)
_UNAVAILABLE = Entry(UpstreamBroken, "Workers AI is unavailable at the moment.")
_NOT_FOR_ACCOUNT = Entry(
    Forbidden, "The proxy's Cloudflare account may not use this model.", code="model_not_allowed", param="model"
)
_FILTERED = Entry(
    BadRequest, "Cloudflare's AI Gateway blocked the request by its content rules.", code="content_policy_violation"
)
_CREDITS = Entry(QuotaExhausted, "The proxy's Cloudflare account has no credits left for this model.")

CODES: Final[Mapping[int, Entry]] = {
    1000: _CREDENTIALS,
    1001: _CLIENT,
    1015: Entry(RateLimited, "Cloudflare limits this proxy's address. Try again later.", retry_after=30),
    1101: _UNAVAILABLE,
    1102: _UNAVAILABLE,
    2001: _GATEWAY,
    2008: _GATEWAY,
    2009: _GATEWAY,
    2016: _FILTERED,
    2017: _FILTERED,
    2018: Entry(RateLimited, "Cloudflare limits this model's shared pool. Try again later.", retry_after=10),
    2019: _GATEWAY,
    2029: _FILTERED,
    3003: _CLIENT,
    3006: Entry(TooLarge, "The request is larger than Workers AI takes."),
    3007: _SLOW,
    3008: Entry(UpstreamTimeout, "Workers AI gave up the request before it was answered."),
    3021: Entry(RateLimited, "The account's requests per minute for this model are used up.", retry_after=10),
    3023: Entry(Forbidden, "The proxy's Cloudflare account is blocked from Workers AI.", code="account_blocked"),
    3036: _QUOTA,
    3039: _CLIENT,
    3040: Entry(RateLimited, "Workers AI has no capacity at the moment, try again.", retry_after=2),
    3041: _NOT_FOR_ACCOUNT,
    3042: _NO_MODEL,
    3046: _SLOW,
    4006: _QUOTA,
    5004: _CLIENT,
    5005: Entry(BadRequest, "This model takes no LoRA adapter.", code="unsupported_parameter", param="lora"),
    VALIDATION: _CLIENT,
    5007: _NO_MODEL,
    5016: Entry(
        Forbidden,
        "This model's licence has not been accepted. Operator: send it the prompt 'agree' once from this account.",
        code="model_agreement_required",
        param="model",
    ),
    5018: _NOT_FOR_ACCOUNT,
    5019: _CLIENT,
    5028: Entry(NotFound, "Workers AI has removed this model.", code="model_not_found", param="model"),
    5035: Entry(
        Forbidden,
        "This model needs the Workers Paid plan, which the proxy's Cloudflare account does not have. Choose another "
        "model or upgrade the account.",
        code="model_requires_paid_plan",
        param="model",
    ),
    6003: _CREDENTIALS,
    6111: _CREDENTIALS,
    7000: _ADDRESS,
    7001: _ADDRESS,
    7003: _ADDRESS,
    7009: _UNAVAILABLE,
    8001: _CLIENT,
    8005: Entry(UpstreamBroken, "Workers AI failed while running the model."),
    8006: Entry(BadRequest, param="max_tokens"),
    8007: _CLIENT,
    9106: _CREDENTIALS,
    9109: _CREDENTIALS,
    10000: _CREDENTIALS,
    10001: _CREDENTIALS,
}
"""What each of Cloudflare's codes becomes."""

STATUSES: Final[Mapping[int, Entry]] = {
    401: _CREDENTIALS,
    402: _CREDITS,
    403: _CREDENTIALS,
    404: Entry(NotFound, "Workers AI does not know this model or address.", code="upstream_not_found"),
    405: _ADDRESS,
    407: _CREDENTIALS,
    408: _SLOW,
    409: _UNAVAILABLE,
    410: _NO_MODEL,
    413: Entry(TooLarge, "The request is larger than Workers AI takes."),
    429: Entry(RateLimited, "Workers AI limits this proxy at the moment. Try again later.", retry_after=5),
    503: Entry(Overloaded, "Workers AI is overloaded at the moment. Try again later."),
    504: _SLOW,
    524: _SLOW,
    529: Entry(Overloaded, "Workers AI is overloaded at the moment. Try again later."),
}
"""What an HTTP status becomes where no code is known; other 4xx are the client's, everything else is the upstream's."""

_EDGE_LIMIT = CODES[1015]
_OVERFLOW = Entry(BadRequest, code="context_length_exceeded", param="messages")
_UNMET_JSON = Entry(
    UpstreamBroken, "The model could not produce JSON in the requested format.", code="json_mode_not_met"
)


def read_failure(status: int, headers: Mapping[str, str], body: bytes, now: float) -> ApiError:
    """Read an HTTP answer that is a failure.

    Args:
        status: The HTTP status.
        headers: Of the answer; only ``Retry-After`` is read, and ``retry-after-ms``, which goes before it.
        body: The body, or its beginning.
        now: The Unix time, for errors that name a deadline.
    """
    facts = read_body(body, CODES)
    wait = _milliseconds(headers.get("retry-after-ms"))
    if wait is None:
        wait = _seconds(headers.get("retry-after") or headers.get("Retry-After"), now)
    return _error(facts, status, wait, now)


def frame_failure(payload: Mapping[str, Any], now: float) -> ApiError | None:
    """Read a JSON object that came with status 200: a stream's frame or an unstreamed body.

    Returns:
        The failure that it is, or ``None`` when it is none.
    """
    if not is_failure(payload):
        return None
    facts = read_object(payload, CODES)
    return _error(facts, facts.status or 500, None, now)


def _error(facts: Facts, status: int, wait: float | None, now: float) -> ApiError:
    entry = _entry(facts, status)
    message = entry.message
    param = entry.param
    retry_after: float | None = entry.retry_after if wait is None else wait
    if entry.until_midnight:
        left = math.ceil(_DAY - now % _DAY)
        retry_after = float(left)
        message = (
            "The Cloudflare account has used up today's free allocation of neurons. It is renewed at 00:00 UTC, in "
            f"{left} seconds; the Workers Paid plan lifts the limit."
        )
    elif issubclass(entry.error, BadRequest) and message is None:
        if facts.code == VALIDATION:
            message, param = explain_validation(facts.text)
        else:
            message = shown(facts.text) or f"Workers AI refused the request (HTTP {status})."
    elif not issubclass(entry.error, RateLimited | Overloaded | UpstreamBroken | UpstreamTimeout):
        retry_after = None
    return entry.error(message, param=param, code=entry.code, retry_after=retry_after, upstream_code=facts.code)


def _entry(facts: Facts, status: int) -> Entry:
    entry = CODES.get(facts.code) if facts.code is not None else None
    if (entry is None or entry is _CLIENT) and is_unmet_json(facts.text):
        return _UNMET_JSON
    if entry is None:
        if facts.edge and status == RateLimited.status:
            return _EDGE_LIMIT
        entry = STATUSES.get(status) or (_CLIENT if 400 <= status < 500 else _UNAVAILABLE)
    if entry is _CLIENT and facts.code != VALIDATION and is_overflow(facts.text):
        return _OVERFLOW
    return entry


def _milliseconds(value: str | None) -> float | None:
    try:
        wait = float(value or "") / 1000
    except ValueError:
        return None
    return min(wait, MAX_RETRY_AFTER) if 0 <= wait < math.inf else None


def _seconds(value: str | None, now: float) -> float | None:
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except (ValueError, OverflowError):
            return None
    if not math.isfinite(seconds):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)
