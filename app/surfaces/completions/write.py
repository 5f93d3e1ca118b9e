"""Writing a completion: chunks of one stream, or one body."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from app.core.events import Delta, Event, Failed, Finished, FinishReason, Opened, PartKind, Started
from app.core.generation import Generation
from app.core.request import GenerationRequest
from app.core.surface import NewId
from app.surfaces.closing import Closing, error_frames, wants_usage
from app.surfaces.completions.read import echoed
from app.surfaces.usage import sum_usages, usage_body
from app.wire.codec import encode

_SAID: Final = frozenset[PartKind]({"text", "refusal"})
"""What is part of the text: this API has no place for thoughts, and offers no tools."""


class CompletionsWriter:
    """Turns events into the chunks of one stream; those of several choices may come in any order.

    Args:
        request: The request that is answered.
        model: What the answer calls the model.
        new_id: Makes ids.
        now: When the answer began, in Unix seconds.
    """

    def __init__(self, request: GenerationRequest, model: str, new_id: NewId, now: float) -> None:
        head = {"id": new_id("cmpl-"), "object": "text_completion", "created": int(now), "model": model}
        start = b"data: " + encode(head)[:-1]
        count = len(request.branches) or 1
        include_usage = wants_usage(request)
        usage = b',"usage":null' if include_usage else b""
        self._head = start + b',"choices":[{"text":'
        self._places = [b',"index":%d,"logprobs":null,"finish_reason":' % index for index in range(count)]
        self._end = b"}]" + usage + b"}\n\n"
        self._tails = [place + b"null" + self._end for place in self._places]
        self._said: list[list[bool]] = [[] for _ in range(count)]
        self._echoed = _each(echoed(request), count)
        self._closing = Closing(start, count, include_usage=include_usage)
        self._failed = False

    def feed(self, event: Event, choice: int = 0) -> bytes:
        """Take the next event of one choice: whole frames, or nothing."""
        if self._failed:
            return b""
        if type(event) is Delta:
            if self._said[choice][event.part]:
                return self._head + encode(event.text) + self._tails[choice]
            return b""
        match event:
            case Started():
                prompt = self._echoed[choice]
                return self._head + encode(prompt) + self._tails[choice] if prompt else b""
            case Opened(kind=kind):
                self._said[choice].append(kind in _SAID)
            case Finished(reason=reason, usage=usage):
                said = b'""' + self._places[choice] + encode(_reason(reason))
                return self._head + said + self._end + self._closing.finish(usage)
            case Failed(error=error):
                self._failed = True
                return error_frames(error)
        return b""


def body(
    request: GenerationRequest, generations: Sequence[Generation], model: str, new_id: NewId, now: float
) -> dict[str, Any]:
    """Write finished generations, one per choice, as one ``text_completion``."""
    prompts = _each(echoed(request), len(generations))
    return {
        "id": new_id("cmpl-"),
        "object": "text_completion",
        "created": int(now),
        "model": model,
        "choices": [
            {
                "text": prompt + "".join(part.text for part in generation.parts if part.kind in _SAID),
                "index": index,
                "logprobs": None,
                "finish_reason": _reason(generation.reason or "stop"),
            }
            for index, (prompt, generation) in enumerate(zip(prompts, generations, strict=True))
        ],
        "usage": usage_body(sum_usages(generation.usage for generation in generations)),
    }


def _each(prompts: Sequence[str], count: int) -> Sequence[str]:
    """Give every choice its prompt: as many choices stand for each, in their order."""
    if not prompts:
        return [""] * count
    choices = count // len(prompts)
    return [prompt for prompt in prompts for _ in range(choices)]


def _reason(reason: FinishReason) -> str:
    return "stop" if reason == "tool_calls" else reason
