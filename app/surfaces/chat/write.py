"""Writing a chat answer: chunks of one stream, or one body."""

from __future__ import annotations

from typing import Any

from app.core.errors import ApiError
from app.core.events import Closed, Delta, Event, Failed, Finished, FinishReason, Opened, Started
from app.core.generation import Generation, Part
from app.core.request import GenerationRequest
from app.core.surface import NewId
from app.core.usage import Usage
from app.surfaces.chat.read import wants_usage
from app.wire.codec import encode
from app.wire.sse import DONE

_EMPTY_ARGUMENTS = "{}"


class ChatWriter:
    """Turns events into the chunks of one stream.

    What is the same in every chunk is written once, when the stream begins; a token costs one JSON string.

    Args:
        completion_id: The id that every chunk carries.
        created: Unix seconds.
        model: What the answer calls the model.
        include_usage: Add the usage chunk that ends the stream.
        new_id: Makes ids for calls that the upstream gave none.
    """

    def __init__(self, *, completion_id: str, created: int, model: str, include_usage: bool, new_id: NewId) -> None:
        start = {"id": completion_id, "object": "chat.completion.chunk", "created": created, "model": model}
        self._start = b"data: " + encode(start)[:-1]
        self._head = self._start + b',"choices":[{"index":0,"delta":'
        usage = b',"usage":null' if include_usage else b""
        self._tail = b',"logprobs":null,"finish_reason":null}]' + usage + b"}\n\n"
        self._end = b"}]" + usage + b"}\n\n"
        self._text_head = self._head + b'{"content":'
        self._text_tail = b"}" + self._tail
        self._include_usage = include_usage
        self._new_id = new_id
        self._kinds: list[str] = []
        self._calls: dict[int, bytes] = {}
        self._silent_calls: set[int] = set()

    def feed(self, event: Event, choice: int = 0) -> bytes:  # noqa: ARG002 - there is one choice
        """Take the next event: whole frames, or nothing."""
        if type(event) is Delta:
            return self._delta(event)
        match event:
            case Started():
                return self._chunk(b'{"role":"assistant","content":"","refusal":null}')
            case Opened():
                return self._opened(event)
            case Closed(part=part) if part in self._silent_calls:
                return self._delta(Delta(part, _EMPTY_ARGUMENTS))
            case Finished(reason=reason, usage=usage):
                return self._finished(reason, usage)
            case Failed(error=error):
                return error_frames(error)
        return b""

    def _delta(self, event: Delta) -> bytes:
        text = encode(event.text)
        kind = self._kinds[event.part]
        if kind == "text":
            return self._text_head + text + self._text_tail
        if kind == "reasoning":
            # There is no field of OpenAI's for it; clients look for the one or the other.
            return self._chunk(b'{"reasoning_content":' + text + b',"reasoning":' + text + b"}")
        if kind == "refusal":
            return self._chunk(b'{"refusal":' + text + b"}")
        self._silent_calls.discard(event.part)
        return self._calls[event.part] + text + b"}}]}" + self._tail

    def _opened(self, event: Opened) -> bytes:
        self._kinds.append(event.kind)
        if event.kind != "tool_call":
            return b""
        index = len(self._calls)
        self._calls[event.part] = self._head + b'{"tool_calls":[{"index":%d,"function":{"arguments":' % index
        self._silent_calls.add(event.part)
        call = {
            "index": index,
            "id": event.call_id or self._new_id("call_"),
            "type": "function",
            "function": {"name": event.name, "arguments": ""},
        }
        return self._chunk(encode({"tool_calls": [call]}))

    def _finished(self, reason: FinishReason, usage: Usage | None) -> bytes:
        last = self._head + b'{},"logprobs":null,"finish_reason":"' + reason.encode() + b'"' + self._end
        if self._include_usage:
            last += self._start + b',"choices":[],"usage":' + encode(usage_body(usage)) + b"}\n\n"
        return last + DONE

    def _chunk(self, delta: bytes) -> bytes:
        return self._head + delta + self._tail


def error_frames(error: ApiError) -> bytes:
    """A failure after the first byte. No ``[DONE]`` follows: a broken stream must not look finished."""
    return b"data: " + encode({"error": error.body()}) + b"\n\n"


def body(request: GenerationRequest, generation: Generation, model: str, new_id: NewId, now: float) -> dict[str, Any]:
    """Write a finished generation as one ``chat.completion``."""
    del request  # everything that the answer needs is in the generation
    text = generation.text("text")
    reasoning = generation.text("reasoning")
    calls = generation.tool_calls()
    message: dict[str, Any] = {
        "role": "assistant",
        # Some agents look at the calls only where there is no text.
        "content": None if (calls and not text.strip()) else text,
        "refusal": generation.text("refusal") or None,
        "annotations": [],
    }
    if message["refusal"] is not None and not text:
        message["content"] = None
    if reasoning:
        message["reasoning_content"] = message["reasoning"] = reasoning
    if calls:
        message["tool_calls"] = [_call(call, new_id) for call in calls]
    return {
        "id": new_id("chatcmpl-"),
        "object": "chat.completion",
        "created": int(now),
        "model": model,
        "choices": [
            {"index": 0, "message": message, "logprobs": None, "finish_reason": generation.reason or "stop"},
        ],
        "usage": usage_body(generation.usage),
        "service_tier": "default",
        "system_fingerprint": None,
    }


def _call(call: Part, new_id: NewId) -> dict[str, Any]:
    return {
        "id": call.call_id or new_id("call_"),
        "type": "function",
        "function": {"name": call.name, "arguments": call.text or _EMPTY_ARGUMENTS},
    }


def usage_body(usage: Usage | None) -> dict[str, Any] | None:
    """OpenAI's ``usage`` object, with the details that clients read without asking whether they are there."""
    if usage is None:
        return None
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens or 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens or 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def writer(request: GenerationRequest, model: str, new_id: NewId, now: float) -> ChatWriter:
    """Make a writer for a streamed answer."""
    return ChatWriter(
        completion_id=new_id("chatcmpl-"),
        created=int(now),
        model=model,
        include_usage=wants_usage(request),
        new_id=new_id,
    )
