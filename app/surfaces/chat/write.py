"""Writing a chat answer: chunks of one stream, or one body."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.core.events import Closed, Delta, Event, Failed, Finished, Opened, Started
from app.core.generation import Generation
from app.core.request import GenerationRequest
from app.core.surface import NewId
from app.surfaces.chat.calls import CallForms
from app.surfaces.chat.chunks import Chunks
from app.surfaces.closing import Closing, error_frames, wants_usage
from app.surfaces.usage import sum_usages, usage_body
from app.wire.codec import encode


class ChatWriter:
    """Turns events into the chunks of one stream; those of several choices may come in any order.

    Args:
        request: The request that is answered.
        model: What the answer calls the model.
        new_id: Makes ids.
        now: When the answer began, in Unix seconds.
    """

    def __init__(self, request: GenerationRequest, model: str, new_id: NewId, now: float) -> None:
        head = {"id": new_id("chatcmpl-"), "object": "chat.completion.chunk", "created": int(now), "model": model}
        start = b"data: " + encode(head)[:-1]
        count = len(request.branches) or 1
        include_usage = wants_usage(request)
        usage = b',"usage":null' if include_usage else b""
        forms = CallForms.of(request)
        self._choices = [Chunks(start, index, usage, forms, new_id) for index in range(count)]
        self._closing = Closing(start, count, include_usage=include_usage)
        self._begun = False
        self._failed = False

    def feed(self, event: Event, choice: int = 0) -> bytes:
        """Take the next event of one choice: whole frames, or nothing."""
        if self._failed:
            return b""
        chunks = self._choices[choice]
        if type(event) is Delta:
            span = chunks.spans[event.part]
            if span is None:
                return chunks.delta(event.part, event.text)
            head, between, tail = span
            text = encode(event.text)
            return head + text + tail if between is None else head + text + between + text + tail
        match event:
            case Started():
                return self._begin()
            case Opened():
                return chunks.open(event)
            case Closed(part=part):
                return chunks.close(part)
            case Finished(reason=reason, usage=usage):
                return chunks.finish(reason) + self._closing.finish(usage)
            case Failed(error=error):
                self._failed = True
                return error_frames(error)
        return b""

    def _begin(self) -> bytes:
        # All choices begin with the first that does: clients append them in the order in which they come.
        if self._begun:
            return b""
        self._begun = True
        return b"".join([chunks.begin() for chunks in self._choices])


def body(
    request: GenerationRequest, generations: Sequence[Generation], model: str, new_id: NewId, now: float
) -> dict[str, Any]:
    """Write finished generations, one per choice, as one ``chat.completion``."""
    forms = CallForms.of(request)
    return {
        "id": new_id("chatcmpl-"),
        "object": "chat.completion",
        "created": int(now),
        "model": model,
        "choices": [
            {
                "index": index,
                "message": _message(generation, forms, new_id),
                "logprobs": None,
                "finish_reason": forms.reason(generation.reason or "stop"),
            }
            for index, generation in enumerate(generations)
        ],
        "usage": usage_body(sum_usages(generation.usage for generation in generations)),
        "service_tier": "default",
        "system_fingerprint": None,
    }


def _message(generation: Generation, forms: CallForms, new_id: NewId) -> dict[str, Any]:
    text = generation.text("text")
    reasoning = generation.text("reasoning")
    refusal = generation.text("refusal") or None
    calls = generation.tool_calls()
    message: dict[str, Any] = {
        "role": "assistant",
        # Some agents look at the calls only where there is no text.
        "content": None if (calls and not text.strip()) or (refusal is not None and not text) else text,
        "refusal": refusal,
        "annotations": [],
    }
    if reasoning:
        message["reasoning_content"] = message["reasoning"] = reasoning
    if calls:
        message.update(forms.message(calls, new_id))
    return message
