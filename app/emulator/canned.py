"""Failures answered in place of a model: status, body and content type, as they come over the wire."""

from dataclasses import dataclass, field

import orjson

from app.emulator.errors import failure

JSON = "application/json"
_HTML = "text/html; charset=UTF-8"


@dataclass(frozen=True, slots=True)
class Canned:
    """A ready answer.

    Attributes:
        status: HTTP status.
        body: Bytes.
        content_type: Content type, or nothing.
        headers: More headers.
        retry_date: Seconds from now to the date in `Retry-After`, where it holds a date.
    """

    status: int
    body: bytes
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    retry_date: float | None = None


def _coded(status: int, code: int, message: str, *, empty: bool = False) -> Canned:
    return Canned(status, orjson.dumps(failure(code, message, result={} if empty else None)))


def _json(status: int, body: object) -> Canned:
    return Canned(status, orjson.dumps(body))


def _page(status: int, code: int, words: str) -> Canned:
    page = (
        f"<!DOCTYPE html>\n<html lang=en-US><head><title>{code}: {words}</title></head>\n"
        f"<body><h1>Error {code}</h1><p>{words}</p><p>error code: {code}</p></body></html>\n"
    )
    return Canned(status, page.encode(), _HTML)


_PAGES = {
    200: "Please wait a moment",
    500: "Internal server error",
    502: "Bad gateway",
    503: "Service temporarily unavailable",
    504: "Gateway time-out",
    520: "Web server is returning an unknown error",
    521: "Web server is down",
    522: "Connection timed out",
    523: "Origin is unreachable",
    524: "A timeout occurred",
    525: "SSL handshake failed",
    526: "Invalid SSL certificate",
    527: "Railgun listener to origin error",
    530: "Origin DNS error",
}
_PAGE_NOTES = {200: "a page where an answer should be", 524: "the edge gave up waiting"}
_RATE = "AiError: rate limiting: inference request per min rate reached"


def _wait(about: str, retry_date: float | None = None, **headers: str) -> tuple[Canned, str, str]:
    body = _coded(429, 3021, _RATE).body
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Canned(429, body, headers=named, retry_date=retry_date), about, "429 and Retry-After"


# name: (answer, what it is, what it stands for)
FAILURES: dict[str, tuple[Canned, str, str]] = {
    "rate-limited": (
        _coded(429, 3021, _RATE),
        "the per-minute limit of a model",
        "Q35",
    ),
    "capacity": (
        _coded(429, 3040, "AiError: Capacity temporarily exceeded, please try again."),
        "no capacity just now",
        "3040",
    ),
    "quota": (
        _coded(
            429,
            3036,
            "AiError: you have used up your daily free allocation of 10,000 neurons, please upgrade to "
            "Cloudflare's Workers Paid plan if you would like to continue usage.",
        ),
        "today's free neurons are gone",
        "Q33",
    ),
    "quota-old": (
        _coded(429, 4006, "you have used up your daily free allocation of 10,000 neurons"),
        "the same under its older code",
        "Q34",
    ),
    "unauthorized": (_coded(401, 10000, "Authentication error"), "a token that is not good", "10000"),
    "forbidden": (
        _coded(403, 10000, "Authentication error"),
        "a token without the permission",
        "Q47, the scope trap",
    ),
    "token-format": (
        _coded(400, 9106, "Missing X-Auth-Key, X-Auth-Email or Authorization headers"),
        "a junk token",
        "9106",
    ),
    "paid-only": (
        _coded(
            403,
            5035,
            "AiError: Model is not available on the Workers Free plan. Upgrade to Workers Paid to use it.",
            empty=True,
        ),
        "a model of the paid plan; `result` is an empty object",
        "Q47",
    ),
    "licence": (
        _coded(
            403,
            5016,
            "AiError: Model Agreement: Prior to using this model, you must submit the prompt 'agree'.",
        ),
        "a licence nobody agreed to",
        "Q48",
    ),
    "blocked": (_coded(403, 3023, "AiError: Account is blocked"), "a blocked account", "3023"),
    "private-model": (
        _coded(403, 5018, "AiError: Account is not allowed to use this private model"),
        "a model of someone else",
        "5018",
    ),
    "private-model-old": (
        _coded(403, 3041, "AiError: Account is not allowed to use this private model"),
        "the same under its older code",
        "3041",
    ),
    "no-such-model": (
        _coded(400, 5007, "AiError: No such model @cf/acme/none or task"),
        "an unknown model",
        "5007",
    ),
    "invalid-model-id": (_coded(404, 3042, "AiError: Invalid model id"), "a malformed model id", "3042"),
    "removed": (_coded(410, 5028, "AiError: Model has been deprecated"), "a model that was removed", "5028"),
    "bad-input": (
        _coded(
            400,
            5006,
            "AiError: Bad input: Error: oneOf at '/' not met, 0 matches: required properties at '/' are "
            "'prompt', Type mismatch of '/messages/0/content', 'array' not in 'string'",
        ),
        "a body that fits no form",
        "5006, Q18",
    ),
    "bad-base64": (_coded(400, 5004, "AiError: Invalid data in binary input"), "broken binary data", "5004"),
    "incomplete": (_coded(400, 3003, "AiError: Incomplete request"), "missing headers or body", "3003"),
    "finetune-files": (_coded(400, 3039, "AiError: Finetune misses required files"), "half a LoRA", "3039"),
    "lora-unsupported": (
        _coded(405, 5005, "AiError: LoRA unsupported for this model"),
        "a LoRA on another model",
        "5005",
    ),
    "old-client": (_coded(405, 5019, "AiError: Deprecated SDK version"), "a client too old", "5019"),
    "too-large": (_coded(413, 3006, "AiError: Request is too large"), "a body over the limit", "3006"),
    "timeout": (
        _coded(408, 3046, "AiError: Request timeout"),
        "an unstreamed run over 121 seconds",
        "Q32",
    ),
    "timeout-inner": (_coded(408, 3007, "AiError: Timeout"), "a timeout further in", "3007"),
    "aborted": (_coded(408, 3008, "AiError: Aborted"), "a run that was given up", "3008"),
    "invalid-input": (_coded(400, 8001, "AiError: Invalid input"), "input against a rule", "8001"),
    "engine-error": (_coded(500, 8005, "AiError: Internal error during inference"), "a crash", "8005"),
    "small-budget": (
        _coded(400, 8006, "AiError: max_tokens is too small for the forced tool call"),
        "a forced call without room",
        "8006",
    ),
    "context-overflow": (
        _coded(
            400,
            8007,
            "AiError: This model's maximum context length is 128000 tokens. However, you requested 4096 "
            "output tokens and your prompt contains 126001 input tokens.",
            empty=True,
        ),
        "a prompt too long, in vLLM's words",
        "8007, Q31",
    ),
    "context-overflow-limit": (
        _coded(400, 8007, "AiError: max_completion_tokens is too large: 999999.", empty=True),
        "a token limit over the window",
        "8007",
    ),
    "context-overflow-estimate": (
        _coded(
            400,
            8007,
            "AiError: The estimated number of input and maximum output tokens (25001) exceeded this model "
            "context window limit (24000).",
        ),
        "a prompt too long, in the older words",
        "8007",
    ),
    "bad-effort": (
        _coded(400, 8007, "AiError: Input should be 'low', 'medium' or 'high'", empty=True),
        "an effort the engine does not know",
        "8007",
    ),
    "json-mode-unmet": (
        _coded(400, 5024, "AiError: JSON Mode couldn't be met"),
        "JSON mode that gave no JSON; status and code are a guess",
        "JSON mode",
    ),
    "bad-route": (
        _coded(
            404,
            7003,
            "Could not route to /accounts/none/ai/run, perhaps your object identifier is invalid?",
        ),
        "a wrong account id",
        "7003",
    ),
    "no-route": (_coded(404, 7000, "No route for that URI"), "a wrong path", "7000"),
    "wrong-method": (
        _coded(405, 7001, "GET not supported for requested URI."),
        "a wrong method",
        "Q36",
    ),
    "unavailable": (_coded(503, 7009, "Upstream service unavailable"), "the API's own outage", "7009"),
    "gateway-error": (
        _json(
            400,
            {
                "success": False,
                "result": [],
                "messages": [],
                "error": [{"code": 2001, "message": "Please configure AI Gateway in the dashboard"}],
            },
        ),
        "a gateway's envelope: one `error` key that holds an array",
        "envelope variants",
    ),
    "gateway-unauthorized": (
        _json(
            401,
            {
                "name": "AiGatewayError",
                "internalCode": 2009,
                "httpCode": 401,
                "message": "Unauthorized",
                "description": "The gateway wants its own authorization.",
            },
        ),
        "a gateway that wants its own token",
        "2009",
    ),
    "gateway-rate-limited": (
        Canned(429, orjson.dumps({"error": "Rate limited"}), headers={"retry-after": "2"}),
        "a gateway's own limit, with Retry-After",
        "429 and Retry-After",
    ),
    "pool-rate-limited": (_coded(429, 2018, "Rate limited"), "the shared pool's limit", "2018"),
    "no-credits": (
        _json(402, {"error": {"message": "Insufficient wholesale credits", "type": "billing", "code": 402}}),
        "no credits left",
        "gateway billing",
    ),
    "error-object": (
        _json(403, {"error": {"message": "Not allowed here", "type": "forbidden", "code": "forbidden"}}),
        "an error in OpenAI's shape",
        "envelope variants",
    ),
    "error-string": (_json(500, {"error": "something broke"}), "an error that is one string", "envelope variants"),
    "error-message": (_json(500, {"message": "something broke"}), "an error that is one message", "envelope variants"),
    "error-200": (
        _coded(200, 8005, "AiError: Internal error during inference"),
        "a failure under status 200",
        "envelope variants",
    ),
    **{
        f"html-{status}": (
            _page(status, status, words),
            _PAGE_NOTES.get(status, "the edge's page"),
            "edge and transport",
        )
        for status, words in _PAGES.items()
    },
    "error-1015": (_page(429, 1015, "You are being rate limited"), "the edge's limit by address", "edge and transport"),
    "error-1101": (Canned(500, b"error code: 1101", "text/plain"), "a Worker's exception", "edge and transport"),
    "error-1102": (Canned(503, b"error code: 1102", "text/plain"), "a Worker out of CPU time", "edge and transport"),
    "empty-200": (Canned(200, b"", ""), "a success without a word", "edge and transport"),
    "empty-429": (Canned(429, b"", ""), "a limit without a word", "edge and transport"),
    "empty-500": (Canned(500, b"", ""), "a failure without a word", "edge and transport"),
    "empty-502": (Canned(502, b"", ""), "a failure without a word", "edge and transport"),
    "empty-503": (Canned(503, b"", ""), "a failure without a word", "edge and transport"),
    "empty-504": (Canned(504, b"", ""), "a failure without a word", "edge and transport"),
    "retry-after-seconds": _wait("a wait in seconds", retry_after="1"),
    "retry-after-zero": _wait("a wait of no seconds", retry_after="0"),
    "retry-after-fraction": _wait("a wait in parts of a second, which the standard does not have", retry_after="0.25"),
    "retry-after-ms": _wait("a wait in milliseconds, in OpenAI's header", retry_after_ms="250"),
    "retry-after-date": _wait("a wait until a date, two seconds ahead", retry_date=2.0),
    "retry-after-past": _wait("a wait until a date that is over", retry_date=-60.0),
    "retry-after-long": _wait("a wait of a day", retry_after="86400"),
    "retry-after-negative": _wait("a wait of less than nothing", retry_after="-5"),
    "retry-after-junk": _wait("a wait that is no time", retry_after="soon"),
}
