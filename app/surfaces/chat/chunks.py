"""The chunks of one choice of a stream."""

from __future__ import annotations

from typing import TypeAlias

from app.core.events import FinishReason, Opened
from app.core.surface import NewId
from app.surfaces.chat.calls import EMPTY_ARGUMENTS, CallForms
from app.surfaces.custom import custom_input
from app.wire.codec import encode

Span: TypeAlias = tuple[bytes, bytes | None, bytes]
"""What stands before a text in its chunk, between it and its repetition if it is repeated, and behind it."""


class Chunks:
    """Writes the chunks of one choice.

    What is the same in all chunks of a part is written once, when the part opens.

    Args:
        start: The beginning of every chunk, up to where its choices come.
        index: The choice's number.
        usage: What every chunk says about usage.
        forms: How calls are written.
        new_id: Makes ids for calls that the upstream gave none.

    Attributes:
        spans: For each part what stands around its texts; ``None`` for texts that need a closer look.
    """

    __slots__ = ("_calls", "_end", "_forms", "_head", "_inputs", "_new_id", "_silent", "_tail", "_text", "spans")

    def __init__(self, start: bytes, index: int, usage: bytes, forms: CallForms, new_id: NewId) -> None:
        self._head = start + b',"choices":[{"index":%d,"delta":' % index
        self._tail = b',"logprobs":null,"finish_reason":null}]' + usage + b"}\n\n"
        self._end = b"}]" + usage + b"}\n\n"
        self._forms = forms
        self._new_id = new_id
        self._text: Span = (self._head + b'{"content":', None, b"}" + self._tail)
        self._calls = 0
        self._silent: dict[int, Span] = {}
        self._inputs: dict[int, tuple[Span, list[str]]] = {}
        self.spans: list[Span | None] = []

    def begin(self) -> bytes:
        """The chunk with the role."""
        return self._chunk(b'{"role":"assistant","content":"","refusal":null}')

    def open(self, event: Opened) -> bytes:
        """Begin a part."""
        match event.kind:
            case "text":
                self.spans.append(self._text)
            case "reasoning":
                # There is no field of OpenAI's for it; clients look for the one or the other.
                self.spans.append(self._span(b'{"reasoning_content":', b"}", b',"reasoning":'))
            case "refusal":
                self.spans.append(self._span(b'{"refusal":', b"}"))
            case "tool_call":
                self.spans.append(None)
                return self._open_call(event)
        return b""

    def delta(self, part: int, text: str) -> bytes:
        """Write a text of a part that has no span yet."""
        if part in self._inputs:
            self._inputs[part][1].append(text)
            return b""
        span = self._silent.pop(part, None)
        if span is None:
            # A call for which the deprecated form has no room.
            return b""
        self.spans[part] = span
        return span[0] + encode(text) + span[2]

    def close(self, part: int) -> bytes:
        """End a part: what had to be complete is written."""
        span = self._silent.pop(part, None)
        if span is not None:
            return span[0] + encode(EMPTY_ARGUMENTS) + span[2]
        if part not in self._inputs:
            return b""
        span, pieces = self._inputs.pop(part)
        text = custom_input("".join(pieces)) if pieces else ""
        return span[0] + encode(text) + span[2] if text else b""

    def finish(self, reason: FinishReason) -> bytes:
        """The chunk that says why the model stopped."""
        said = self._forms.reason(reason).encode()
        return self._head + b'{},"logprobs":null,"finish_reason":"' + said + b'"' + self._end

    def _open_call(self, event: Opened) -> bytes:
        index = self._calls
        self._calls += 1
        if self._forms.single:
            if index:
                return b""
            self._silent[event.part] = self._span(b'{"function_call":{"arguments":', b"}}")
            return self._chunk(encode({"function_call": {"name": event.name, "arguments": ""}}))
        call = self._forms.begun(event.name, event.call_id or self._new_id("call_"))
        head = b'{"tool_calls":[{"index":%d,' % index
        if call["type"] == "custom":
            # Its text can be read from the arguments only when they are complete.
            self._inputs[event.part] = (self._span(head + b'"custom":{"input":', b"}}]}"), [])
        else:
            self._silent[event.part] = self._span(head + b'"function":{"arguments":', b"}}]}")
        return self._chunk(encode({"tool_calls": [{"index": index, **call}]}))

    def _span(self, head: bytes, tail: bytes, between: bytes | None = None) -> Span:
        return self._head + head, between, tail + self._tail

    def _chunk(self, delta: bytes) -> bytes:
        return self._head + delta + self._tail
