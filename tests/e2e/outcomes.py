"""What clients have to see of every fault that the emulator has: written down by kind, from what each fault means.

An outcome says what an official SDK has to make of it, too: it is asked whether it would try again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from app.emulator.scenarios import SCENARIOS

Moment = Literal["whole", "before", "within"]
"""When it goes wrong: never (the answer is whole), before the first of its bytes, or after some of its text."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a client sees.

    Attributes:
        about: The kind of fault.
        faults: Those that are of this kind, by their names.
        moment: When it goes wrong.
        status: HTTP status; of ``within`` that of an unstreamed answer, for a stream has begun with 200.
        code: The error's code.
        again: Whether an official SDK tries again by itself, where there is a status.
        waits: The least and the most seconds that the client is told to wait; ``None`` where it is told nothing.
        loses: The bytes before it may be lost with it, also the first: the failure is then one before the answer.
    """

    about: str
    faults: str
    moment: Moment = "before"
    status: int = 200
    code: str | None = None
    again: bool = False
    waits: tuple[float, float] | None = None
    loses: bool = False

    @property
    def type(self) -> str:
        """OpenAI's type of the error."""
        if self.status == 429:
            return "insufficient_quota" if self.code == "insufficient_quota" else "requests"
        if self.status == 503:
            return "service_unavailable_error"
        return "server_error" if self.status >= 500 else "invalid_request_error"


OUTCOMES: Final = (
    # Nothing that a client has to know of.
    Outcome(
        "only the wire is odd: pace, pieces, framing, compression, what stands before or after the answer",
        "plain pause slow-first slow drip split one-write split-utf8 gzip crlf cr bom no-space-data comments "
        "event-names sse-fields garbage-frame garbage-bytes duplicate-frames huge-frame no-done trailing length-long "
        "json-for-stream json-empty-for-stream",
        "whole",
    ),
    Outcome(
        "the answer has an odd shape: usage, reasoning, tool calls, JSON mode, windows",
        "zero-second-usage zero-usage delta-usage delta-usage-only cumulative-usage null-usage no-usage number-tokens "
        "no-role null-final-frame native-finish reasoning-field think-tag object-content "
        "text-content-only small-window list-repeats cut-says-stop null-finaliser object-args double-encoded-args "
        "args-before-name index-reset duplicate-tool-ids functions-tool-ids stop-with-tool-calls leaked-tool-call "
        "xml-tool-call null-tool-calls calls-in-every-frame numbered-bytes",
        "whole",
    ),
    Outcome(
        "thinking without an opening tag, of a model that is not known for it: it stays in the text",
        "think-no-open",
        "whole",
    ),
    Outcome(
        "a call was demanded, and none is made, twice: what came in its place",
        "empty-tool-calls ignores-tools",
        "whole",
    ),
    # The client's own doing.
    Outcome(
        "the request does not fit",
        "bad-input bad-base64 incomplete finetune-files old-client invalid-input small-budget bad-effort",
        status=400,
    ),
    Outcome("the model takes no adapter", "lora-unsupported", status=400, code="unsupported_parameter"),
    Outcome(
        "prompt and limit exceed the window",
        "context-overflow context-overflow-limit context-overflow-estimate",
        status=400,
        code="context_length_exceeded",
    ),
    Outcome("the request is too large", "too-large", status=413),
    Outcome("no such model", "no-such-model invalid-model-id removed", status=404, code="model_not_found"),
    # What the account may not.
    Outcome("a model of the paid plan", "paid-only free-plan", status=403, code="model_requires_paid_plan"),
    Outcome("its licence is not accepted", "licence", status=403, code="model_agreement_required"),
    Outcome("a model of somebody else", "private-model private-model-old", status=403, code="model_not_allowed"),
    Outcome("the account is blocked", "blocked", status=403, code="account_blocked"),
    Outcome(
        "Cloudflare refuses flarelay's token, account or gateway",
        "unauthorized forbidden token-format bad-route no-route wrong-method gateway-error gateway-unauthorized "
        "error-object",
        status=502,
        code="upstream_unauthorized",
    ),
    # Too much: it passes in a while, or today no more.
    Outcome(
        "a limit per minute, or no capacity",
        "rate-limited capacity pool-rate-limited error-1015 empty-429 retry-after-junk",
        status=429,
        code="rate_limit_exceeded",
        again=True,
        waits=(1, 60),
    ),
    Outcome(
        "a limit, and Cloudflare says for how long",
        "retry-after-seconds retry-after-date retry-after-fraction retry-after-ms gateway-rate-limited",
        status=429,
        code="rate_limit_exceeded",
        again=True,
        waits=(0.001, 2),
    ),
    Outcome(
        "a limit that is over already, by what Cloudflare says",
        "retry-after-zero retry-after-past retry-after-negative",
        status=429,
        code="rate_limit_exceeded",
        again=True,
        waits=(0, 1),
    ),
    Outcome(
        "a limit for longer than clients wait", "retry-after-long", status=429, code="rate_limit_exceeded",
        waits=(121, 3600),
    ),
    Outcome("an error as the first frame: no capacity", "error-first-frame", status=429, code="rate_limit_exceeded",
            again=True, waits=(1, 60)),
    Outcome(
        "today's free neurons are gone",
        "quota quota-old quota-in-stream",
        status=429,
        code="insufficient_quota",
        waits=(0, 86_400),
    ),
    Outcome("no credits", "no-credits", status=429, code="insufficient_quota"),
    # Cloudflare fails.
    Outcome(
        "Cloudflare fails, breaks the connection before it answers, or answers nonsense",
        "reset closed engine-error error-200 json-error-for-stream unavailable error-string error-message error-1101 "
        "error-1102 empty-200 html-200 html-500 html-502 html-520 html-521 html-522 html-523 html-525 html-526 "
        "html-527 html-530 empty-500 empty-502",
        status=502,
        code="upstream_error",
        again=True,
    ),
    Outcome("Cloudflare is overloaded", "html-503 empty-503", status=503, code="server_is_overloaded", again=True),
    Outcome(
        "Cloudflare does not answer in time",
        "hang stall-first timeout timeout-inner aborted html-504 html-524 empty-504",
        status=504,
        code="upstream_timeout",
        again=True,
    ),
    Outcome(
        "a good status, and then nothing",
        "reset-first cut-first empty-stream",
        status=502,
        code="upstream_truncated",
        again=True,
    ),
    Outcome(
        "the model gives no JSON in JSON mode", "json-mode-unmet", status=502, code="json_mode_not_met", again=True
    ),
    # After some text.
    Outcome(
        "the connection or the answer ends in the middle of the text",
        "reset-mid-stream cut cut-frame cut-clean cut-frame-clean",
        "within",
        502,
        "upstream_truncated",
        again=True,
    ),
    Outcome(
        "the body is longer than announced: it is cut there, or not read at all",
        "length-short",
        "within",
        502,
        "upstream_truncated",
        again=True,
        loses=True,
    ),
    Outcome("silence in the middle of the text", "stall", "within", 504, "upstream_timeout", again=True),
    Outcome(
        "an error in the middle of the text: no capacity",
        "error-mid-stream",
        "within",
        429,
        "rate_limit_exceeded",
        again=True,
        waits=(1, 60),
    ),
    Outcome(
        "an error in the middle of the text: the engine", "error-mid-stream-object", "within", 502, "upstream_error",
        again=True,
    ),
)  # fmt: skip


def by_fault() -> Mapping[str, Outcome]:
    """The outcome of every fault.

    Raises:
        ValueError: A fault has none, or two, or one is of no fault.
    """
    found: dict[str, Outcome] = {}
    for outcome in OUTCOMES:
        for fault in outcome.faults.split():
            if fault in found:
                raise ValueError(f"{fault} is there twice")
            found[fault] = outcome
    if wrong := set(found) ^ set(SCENARIOS):
        raise ValueError(f"without an outcome, or without a fault: {', '.join(sorted(wrong))}")
    return found
