"""The frames of a Responses stream, numbered from one place.

A frame of text, of which there is one per token, is made of a prefix that is written when its item opens, the
number, and one JSON string. All others are rare.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from app.core.errors import ApiError
from app.surfaces.responses.items import Item, ItemKind
from app.wire.codec import encode
from app.wire.sse import DONE


class Words(Struct, frozen=True):
    """What the events about one kind of item are called.

    Attributes:
        delta: The event that brings more of the text.
        done: The event that repeats the whole text.
        field: Where that event has the text.
        in_content: The text is a content part of the item, with events of its own.
    """

    delta: str
    done: str
    field: str
    in_content: bool = True


WORDS: Final[Mapping[ItemKind, Words]] = {
    "text": Words("response.output_text.delta", "response.output_text.done", "text"),
    "refusal": Words("response.refusal.delta", "response.refusal.done", "refusal"),
    "reasoning": Words("response.reasoning_text.delta", "response.reasoning_text.done", "text"),
    "function": Words(
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "arguments",
        in_content=False,
    ),
    "custom": Words(
        "response.custom_tool_call_input.delta",
        "response.custom_tool_call_input.done",
        "input",
        in_content=False,
    ),
}

ReasoningEvents = Literal["openai", "open-responses"]
"""Whose names the events of reasoning have: OpenAI's and the Open Responses specification's differ."""

_ALL_WORDS: Final[Mapping[ReasoningEvents, Mapping[ItemKind, Words]]] = {
    "openai": WORDS,
    "open-responses": {
        **WORDS,
        "reasoning": Words("response.reasoning.delta", "response.reasoning.done", "text"),
    },
}


def words_of(reasoning_events: ReasoningEvents) -> Mapping[ItemKind, Words]:
    """Find what the events are called; all but those of reasoning have one name only."""
    return _ALL_WORDS[reasoning_events]


class Numbered:
    """Writes frames and counts them."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0

    def frame(self, event: str, **fields: Any) -> bytes:  # noqa: ANN401 - any JSON
        """Write one frame."""
        number = self.number
        self.number = number + 1
        return _frame(event, {"type": event, "sequence_number": number, **fields})

    def text(self, prefix: bytes, text: str) -> bytes:
        """Write one frame of text with a prefix from ``delta_prefix``."""
        number = self.number
        self.number = number + 1
        return b'%b%d,"delta":%b}\n\n' % (prefix, number, encode(text))

    def error(self, error: ApiError) -> bytes:
        """Write the error event."""
        return self.frame("error", **_error_fields(error))


def place(item: Item, index: int) -> dict[str, Any]:
    """Write the fields that say which text an event is about."""
    fields: dict[str, Any] = {"item_id": item.id, "output_index": index}
    if WORDS[item.kind].in_content:
        fields["content_index"] = 0
    return fields


def delta_prefix(item: Item, index: int, words: Mapping[ItemKind, Words] = WORDS) -> bytes:
    """Write what is the same in all frames of text of one item."""
    event = words[item.kind].delta
    fields: dict[str, Any] = {"type": event, **place(item, index)}
    if item.kind == "text":
        fields["logprobs"] = []
    return b"event: " + event.encode() + b"\ndata: " + encode(fields)[:-1] + b',"sequence_number":'


def error_frames(error: ApiError) -> bytes:
    """End a stream whose numbers are not known."""
    return _frame("error", {"type": "error", **_error_fields(error)}) + DONE


def _frame(event: str, body: Mapping[str, Any]) -> bytes:
    return b"event: " + event.encode() + b"\ndata: " + encode(body) + b"\n\n"


def _error_fields(error: ApiError) -> dict[str, Any]:
    # The documented event is flat and the real one is nested; clients read the one or the other.
    body = error.body()
    return {"code": body["code"], "message": body["message"], "param": body["param"], "error": body}
