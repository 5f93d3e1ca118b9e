"""What can go wrong on the way to Workers AI and back, and by which names each of these things is had.

The table in QUIRKS.md is this one; `python -m app.emulator.vectors` prints it.
"""

import dataclasses
import sys

_CONNECTION = "connection"
_PACE = "pace and pieces"
_FRAMING = "framing"
_END = "end of a stream"
_SHAPE = "shape of an answer"
_USAGE = "usage"
_CALLS = "tool calls"
_REFUSAL = "refusals with a code"
_ENVELOPE = "envelopes"
_EDGE = "edge"
_WAIT = "Retry-After"


@dataclasses.dataclass(frozen=True, slots=True)
class Vector:
    """One thing that can go wrong.

    Attributes:
        group: What it concerns.
        vector: What happens.
        names: The faults that show it, which are scenarios, or `status`.
        otherwise: How else it is had, where that is not by the name of a fault.
    """

    group: str
    vector: str
    names: tuple[str, ...] = ()
    otherwise: str = ""


def _rows(group: str, *rows: tuple[str, str] | tuple[str, str, str]) -> tuple[Vector, ...]:
    return tuple(Vector(group, row[0], tuple(row[1].split()), row[2] if len(row) > 2 else "") for row in rows)


VECTORS: tuple[Vector, ...] = (
    *_rows(
        _CONNECTION,
        ("connection refused", "", "the address that `GET /_emulator/refusing` tells"),
        ("name not found", "", "any host under `.invalid`"),
        ("TLS fails", "", "`https://` before the emulator's address: it speaks plain HTTP"),
        ("reset before the headers", "reset"),
        ("closed before the headers", "closed"),
        ("reset after the headers", "reset-first"),
        ("reset after some text", "reset-mid-stream"),
        ("closed after the headers", "cut-first"),
        ("closed between two frames", "cut"),
        ("closed in the middle of a frame", "cut-frame"),
        ("body shorter than its content-length", "length-long"),
        ("body longer than its content-length", "length-short"),
        ("no answer at all: a read timeout", "hang"),
        ("silence after the headers", "stall-first"),
        ("silence after some text, for ever", "stall"),
        ("silence after some text, for a while", "pause"),
    ),
    *_rows(
        _PACE,
        ("everything as it should be", "plain"),
        ("a long wait before the headers", "slow-first"),
        ("a slow drip, frame by frame", "slow"),
        ("a slow drip, byte by byte", "drip"),
        ("one byte per write", "split"),
        ("everything in one write", "one-write"),
        ("writes that end inside a UTF-8 character", "split-utf8"),
        ("compressed though not asked for", "gzip"),
    ),
    *_rows(
        _FRAMING,
        ("line ends CRLF", "crlf"),
        ("line ends CR", "cr"),
        ("byte order mark", "bom"),
        ("no blank after `data:`", "no-space-data"),
        ("comment lines", "comments"),
        ("unknown event names", "event-names"),
        ("`id`, `retry` and unknown fields", "sse-fields"),
        ("frames that are not JSON", "garbage-frame"),
        ("frames that are not UTF-8", "garbage-bytes"),
        ("frames that come twice", "duplicate-frames"),
        ("a huge frame", "huge-frame"),
    ),
    *_rows(
        _END,
        ("an orderly end without finish reason and `[DONE]`", "cut-clean"),
        ("an orderly end in the middle of a frame", "cut-frame-clean"),
        ("finish reason, but no `[DONE]`", "no-done"),
        ("no frame at all", "empty-stream"),
        ("frames after `[DONE]`", "trailing"),
        ("error envelope in the stream", "error-mid-stream error-first-frame"),
        ("error object in the stream", "error-mid-stream-object"),
        ("quota error in the stream", "quota-in-stream"),
        ("finish `stop` although cut by the limit", "cut-says-stop"),
    ),
    *_rows(
        _SHAPE,
        ("JSON in answer to a stream request", "json-for-stream"),
        ("an empty result in answer to a stream request", "json-empty-for-stream", "gpt-oss and Kimi on `/run`"),
        ("an error under 200 in answer to a stream request", "json-error-for-stream"),
        ("native stream with `p`", "", "legacy models on `/run` with `stream`"),
        ("tokens as JSON numbers", "number-tokens"),
        ("no role chunk", "no-role"),
        ("`response: null` in the last native frame", "null-final-frame"),
        ("finish reason in native frames", "native-finish"),
        ("thinking in `reasoning`", "reasoning-field"),
        ("thinking between tags in the text", "think-tag"),
        ("`</think>` without an opening tag", "think-no-open"),
        ("`content` as an object in JSON mode", "object-content"),
        ("array content refused", "text-content-only"),
        ("context window smaller than listed", "small-window"),
        ("model list that repeats its first page", "list-repeats"),
        ("bytes as an object with numeric keys", "numbered-bytes"),
        ("binary answers: PNG, MP3", "", "stable-diffusion and Aura models"),
        ("base64 pictures", "", "`@cf/black-forest-labs/flux-1-schnell`"),
        ("batch: queued, running, answers out of order", "", "`?queueRequest=true`, then `request_id`"),
        ("batch: answers that name no request", "", "gpt-oss with `?queueRequest=true`"),
        ("batch: answers wrapped twice", "", "`@cf/qwen/` models with `?queueRequest=true`"),
    ),
    *_rows(
        _USAGE,
        ("two usage chunks", "", "gpt-oss on `/v1`, streamed"),
        ("a second usage chunk of zeros", "zero-second-usage"),
        ("usage of zeros", "zero-usage"),
        ("usage deltas with neurons", "delta-usage delta-usage-only"),
        ("running totals", "cumulative-usage"),
        ("explicit null", "null-usage"),
        ("no usage", "no-usage"),
    ),
    *_rows(
        _CALLS,
        ("all-null element at the end", "null-finaliser"),
        ("arguments as an object", "object-args"),
        ("arguments encoded twice", "double-encoded-args"),
        ("arguments before the name", "args-before-name"),
        ("indices that begin anew", "index-reset"),
        ("ids that repeat", "duplicate-tool-ids functions-tool-ids"),
        ("finish `tool_calls` and no calls", "empty-tool-calls"),
        ("finish `stop` beside calls", "stop-with-tool-calls"),
        ("a forced call as JSON in the text", "leaked-tool-call"),
        ("a call between tags in the text", "xml-tool-call"),
        ("`tool_calls: null`", "null-tool-calls"),
        ("`tool_calls: []` in every frame", "calls-in-every-frame"),
        ("tools that are not used", "ignores-tools"),
    ),
    *_rows(
        _REFUSAL,
        ("3021, requests per minute", "rate-limited", "`rate_limits`"),
        ("3036, spent neurons", "quota", "`plan` and `neurons_per_day`"),
        ("4006, the same under its older code", "quota-old"),
        ("3040, no capacity", "capacity", "`capacity` and `options.rejectIfBusy`"),
        ("5035, model of the paid plan", "paid-only free-plan", "`plan`"),
        ("3007, 3046, time is up", "timeout-inner timeout"),
        ("3008, given up", "aborted"),
        ("8005, a crash", "engine-error"),
        ("7009, outage of the API", "unavailable"),
        ("5006, 8001, a body that does not fit", "bad-input invalid-input"),
        ("3003, 5004, 3006, a body that is no good", "incomplete bad-base64 too-large"),
        ("8007, the context window", "context-overflow context-overflow-limit context-overflow-estimate"),
        ("8007, other findings of the engine", "bad-effort"),
        ("8006, no room for a forced call", "small-budget"),
        ("JSON mode that gave no JSON", "json-mode-unmet"),
        ("5007, 3042, 5028, no such model", "no-such-model invalid-model-id removed"),
        ("5016, 5018, 3041, 3023, not allowed", "licence private-model private-model-old blocked"),
        ("10000, 9106, credentials", "unauthorized forbidden token-format"),
        ("7003, 7000, 7001, wrong paths and methods", "bad-route no-route wrong-method"),
        ("5005, 3039, 5019, adapters and old clients", "lora-unsupported finetune-files old-client"),
    ),
    *_rows(
        _ENVELOPE,
        ("`error: […]`", "gateway-error"),
        ("`error: {…}`", "error-object no-credits"),
        ('`error: "…"`', "error-string gateway-rate-limited"),
        ('`message: "…"`', "error-message gateway-unauthorized"),
        ("`result: {}` in place of `null`", "paid-only"),
        ("a failure under 200", "error-200"),
        ("any status and body", "status"),
    ),
    *_rows(
        _EDGE,
        ("HTML under 200", "html-200"),
        ("HTML under 500, 502, 503, 504", "html-500 html-502 html-503 html-504"),
        ("HTML under 520 to 523, 525 to 527", "html-520 html-521 html-522 html-523 html-525 html-526 html-527"),
        ("HTML under 524 and 530", "html-524 html-530"),
        ("1015, limit by address", "error-1015"),
        ("1101, 1102, exceptions of a Worker", "error-1101 error-1102"),
        ("no body", "empty-200 empty-429 empty-500 empty-502 empty-503 empty-504"),
    ),
    *_rows(
        _WAIT,
        ("none", "rate-limited capacity quota"),
        ("seconds", "retry-after-seconds gateway-rate-limited"),
        ("no seconds", "retry-after-zero"),
        ("parts of a second", "retry-after-fraction"),
        ("milliseconds in `retry-after-ms`", "retry-after-ms"),
        ("a date", "retry-after-date"),
        ("a date that is over", "retry-after-past"),
        ("a day", "retry-after-long"),
        ("less than nothing, or no time at all", "retry-after-negative retry-after-junk"),
        ("the pool's limit of a gateway", "pool-rate-limited"),
    ),
)  # fmt: skip


def listed() -> list[dict[str, object]]:
    """Return the table for programs: `[{group, vector, names, otherwise}]`."""
    return [dataclasses.asdict(one) for one in VECTORS]


def page() -> list[str]:
    """Return the table for people, line by line."""
    lines = ["| concerns | vector | had by |", "|---|---|---|"]
    for one in VECTORS:
        ways = [f"`{name}`" for name in one.names] + ([one.otherwise] if one.otherwise else [])
        lines.append(f"| {one.group} | {one.vector} | {', '.join(ways)} |")
    return lines


if __name__ == "__main__":
    sys.stdout.write("\n".join([*page(), ""]))
