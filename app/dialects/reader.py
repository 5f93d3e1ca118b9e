"""One reader for every answer: what a frame is, is told by its own shape and never by the model's name.

``choices`` is the chat form, ``response`` or ``tool_calls`` the native one, ``object: response`` the Responses form;
``errors``, ``error`` and ``success: false`` are failures. All of them may also come in Cloudflare's envelope, and an
unstreamed answer is the same events as a streamed one. No JSON whatever makes the reader raise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from app.core.errors import ApiError, UpstreamBroken, UpstreamTruncated
from app.core.events import Delta, Event, FinishReason
from app.core.usage import Usage
from app.dialects.content import Content
from app.dialects.errors import frame_failure
from app.dialects.responses import read_items, response_reason
from app.dialects.usage import UsageCollector
from app.wire.codec import CodecError, decode, decode_leniently

DONE: Final = b"[DONE]"

_REASONS: Final[dict[str, FinishReason]] = {
    "length": "length",
    "model_length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
"""Reasons by the words that engines use; every other word (``eos``, ``end_turn`` …) means ``stop``."""

_BROKEN: Final = frozenset({"error", "abort", "aborted", "cancelled"})
"""Reasons that are no ending but a failure."""

_TEXT_FIELDS: Final = frozenset({"content", "text", "response"})
"""Fields whose text may hold reasoning between tags."""

_PLAIN_FIELDS: Final = frozenset({"content", "text", "response", "reasoning_content", "reasoning", "refusal"})
"""Fields that hold nothing but text."""

_CONTENT_FIELDS: Final = _PLAIN_FIELDS | {"tool_calls", "function_call", "error", "errors"}

_TWINS: Final = ("reasoning",)
"""Some engines send reasoning under both of its names."""

_NOTHING: Final[tuple[Any, ...]] = ("", [])

_EMPTY: Final = "Workers AI answered with an empty result."


class AnswerReader:
    """Turns one upstream answer into events.

    Args:
        max_tokens: The token limit that was sent.
        thinks_inline: The model thinks inside its text.
        now: The Unix time, for errors that name a deadline.

    Attributes:
        skipped: How many frames could not be understood.
        stopped_early: Always false: it reads to the end.
    """

    __slots__ = (
        "_assembly",
        "_content",
        "_done",
        "_limit",
        "_now",
        "_quick_field",
        "_quick_part",
        "_reason",
        "_usage",
        "skipped",
        "stopped_early",
    )

    def __init__(self, *, max_tokens: int | None = None, thinks_inline: bool = False, now: float = 0.0) -> None:
        self.skipped = 0
        self.stopped_early = False
        self._limit = max_tokens
        self._now = now
        self._content = Content(thinks_inline=thinks_inline)
        self._assembly = self._content.assembly
        self._usage = UsageCollector()
        self._reason: FinishReason | None = None
        self._done = False
        # While one field of the frames goes into one open part and nothing else is going on.
        self._quick_field: str | None = None
        self._quick_part = -1

    def usage_so_far(self) -> Usage | None:
        """What an answer that is given up before its end has cost; ``None`` when that cannot be told.

        To be asked once, and only before the terminal event.
        """
        usage = self._usage.result
        # Figures of single frames do not know the prompt.
        return usage if usage is not None and usage.prompt_tokens else None

    def feed(self, frame: bytes) -> Sequence[Event]:
        """Take the data of one SSE frame."""
        if frame == DONE:
            return self._feed_odd(frame)
        try:
            payload = decode(frame)
        except CodecError:
            return self._feed_odd(frame)
        field = self._quick_field
        if field is not None and type(payload) is dict:
            text = _only_text(payload, field)
            if text is not None:
                usage = payload.get("usage")
                if usage:
                    self._usage.add(usage, terminal=False)
                return (Delta(self._quick_part, text),)
        return self._take(payload)

    def close(self) -> Sequence[Event]:
        """Say that no more frames will come."""
        self._end()
        return self._assembly.take()

    def read(self, body: bytes) -> Sequence[Event]:
        """Take a whole unstreamed answer."""
        payload = self._decode_body(body)
        if self._assembly.ended:
            return self._assembly.take()
        if type(payload) is dict:
            error = frame_failure(payload, self._now)
            if error is not None:
                self._fail(error)
                return self._assembly.take()
            payload = _unwrapped(payload)
        if type(payload) is str:
            payload = {"response": payload}
        self._done = True
        events = list(self._take(payload, whole=True))
        self._end(whole=True)
        return [*events, *self._assembly.take()]

    def _decode_body(self, body: bytes) -> Any:  # noqa: ANN401 - any JSON
        try:
            return decode(body)
        except CodecError:
            self._content.expect_halves()
        try:
            return decode_leniently(body)
        except CodecError:
            self._fail(UpstreamBroken("Workers AI answered something that cannot be read."))
        return None

    def _feed_odd(self, frame: bytes) -> Sequence[Event]:
        """Take a frame that is not strict JSON."""
        if self._assembly.ended:
            return ()
        if frame.strip() == DONE:
            self._done = True
            return self.close()
        try:
            payload = decode_leniently(frame)
        except CodecError:
            self.skipped += 1
            return ()
        self._content.expect_halves()
        return self._take(payload)

    def _take(self, payload: Any, *, whole: bool = False) -> Sequence[Event]:  # noqa: ANN401 - any JSON
        if self._assembly.ended:
            return ()
        self._quick_field = None
        if type(payload) is not dict:
            self.skipped += 1
            return ()
        error = frame_failure(payload, self._now)
        if error is not None:
            self._fail(error)
            return self._assembly.take()
        if "result" in payload and "choices" not in payload:
            payload = _unwrapped(payload)
            if type(payload) is not dict:
                self.skipped += 1
                return ()
        field = self._dispatch(payload, whole=whole)
        if field in _PLAIN_FIELDS and self._content.flows(tagged=field in _TEXT_FIELDS):
            self._quick_field = field
            self._quick_part = self._assembly.part
        return self._assembly.take()

    def _dispatch(self, payload: dict[str, Any], *, whole: bool) -> str | None:
        """Read one object by its shape; return the field that its text came in, if it had no other content."""
        choices = payload.get("choices")
        if type(choices) is list:
            return self._chat(choices, payload.get("usage"), whole=whole)
        if payload.get("object") == "response":
            self._response(payload)
            return None
        if "response" in payload or "tool_calls" in payload or "usage" in payload or "finish_reason" in payload:
            field = self._content.read(payload, "response", whole=whole)
            self._usage.add(payload.get("usage"), terminal=whole or field == "")
            self._note_reason(payload.get("finish_reason"))
            return field
        self.skipped += 1
        return None

    def _chat(self, choices: list[Any], usage: Any, *, whole: bool) -> str | None:  # noqa: ANN401 - any JSON
        field: str | None = ""
        reason: Any = None
        for choice in choices:
            if type(choice) is not dict or choice.get("index") not in (0, None):
                continue
            inner = choice.get("delta")
            if type(inner) is not dict:
                inner = choice.get("message")
            if type(inner) is dict:
                field = self._content.read(inner, "content", whole=whole)
            elif "text" in choice:
                field = self._content.read(choice, "text", whole=whole)
            reason = choice.get("finish_reason")
            break
        self._usage.add(usage, terminal=whole or field == "")
        self._note_reason(reason)
        return field

    def _response(self, payload: dict[str, Any]) -> None:
        for place, item in enumerate(read_items(payload)):
            self._content.read_item(place, item)
        self._usage.add(payload.get("usage"), terminal=True)
        self._note_reason(response_reason(payload))

    def _note_reason(self, value: Any) -> None:  # noqa: ANN401 - any JSON
        if type(value) is not str or not value:
            return
        word = value.lower()
        if word in _BROKEN:
            self._fail(UpstreamBroken("Workers AI broke off its answer."))
            return
        reason = _REASONS.get(word, "stop")
        # The reason is often told twice, and the second time less exactly.
        if self._reason is None or reason != "stop":
            self._reason = reason

    def _end(self, *, whole: bool = False) -> None:
        self._quick_field = None
        if self._assembly.ended:
            return
        if self._reason is None and not self._done:
            self._fail(UpstreamTruncated())
            return
        usage = self._usage.result
        spent = usage is not None and self._limit is not None and usage.completion_tokens >= self._limit
        stopped = self._reason in {None, "stop"} and not spent and not self._assembly.called
        self._content.complete(stopped=stopped)
        if self._assembly.is_empty and not spent:
            # A call is announced and there is none: it was lost on the way.
            lost = self._reason == "tool_calls"
            if lost or (usage is None and (whole or self._reason is None)):
                self._fail(UpstreamBroken(_EMPTY, code="upstream_empty"))
                return
        self._assembly.finish(self._reason, usage, cut=spent)

    def _fail(self, error: ApiError) -> None:
        self._quick_field = None
        self._content.break_off()
        self._assembly.fail(error, self._usage.result)


def _only_text(payload: dict[str, Any], field: str) -> str | None:
    """Return the text of a frame that holds nothing but more text in a known field; ``None`` for any other frame."""
    source: Any = payload
    choices = payload.get("choices")
    if choices is not None:
        if type(choices) is not list or len(choices) != 1:
            return None
        choice = choices[0]
        if type(choice) is not dict or choice.get("finish_reason") is not None or choice.get("index"):
            return None
        source = choice if field == "text" else choice.get("delta")
        if type(source) is not dict:
            return None
    elif field != "response" or payload.get("finish_reason") is not None:
        return None
    text = source.get(field)
    if type(text) is not str or not text:
        return None
    if len(source) > 1:
        twins = _TWINS if field == "reasoning_content" else ()
        for name, other in source.items():
            if name == field or name not in _CONTENT_FIELDS or name in twins:
                continue
            if other is not None and other not in _NOTHING:
                return None
    return text


def _unwrapped(payload: dict[str, Any]) -> Any:  # noqa: ANN401 - any JSON
    """Take an answer out of Cloudflare's envelope, if it is in one."""
    if "result" in payload and isinstance(payload.get("success"), bool):
        return payload["result"]
    return payload
