"""The answer in the Responses form, which comes unstreamed only: its items as pieces of content."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from app.core.events import PartKind
from app.dialects.scalars import json_text, name_of, token_text


class Item(Struct, frozen=True):
    """A piece of content, as one item of the output holds it.

    Attributes:
        kind: What it is.
        text: The text, or a tool call's arguments.
        call_id: Of a tool call.
        name: Of a tool call.
    """

    kind: PartKind
    text: str
    call_id: str | None = None
    name: str | None = None


def read_items(payload: dict[str, Any]) -> Iterator[Item]:
    """Read the items of a response's ``output``, or its ``output_text`` when there are none."""
    output = payload.get("output")
    items = [item for item in output if type(item) is dict] if type(output) is list else []
    if not items:
        yield Item("text", token_text(payload.get("output_text")))
    for item in items:
        match item.get("type"):
            case "function_call":
                arguments = item.get("arguments")
                text = json_text(arguments) if isinstance(arguments, dict) else token_text(arguments)
                yield Item("tool_call", text, name_of(item.get("call_id")), name_of(item.get("name")))
            case "reasoning":
                yield Item("reasoning", _texts(item.get("content")) or _texts(item.get("summary")))
            case "message":
                yield from _message(item.get("content"))


def response_reason(payload: dict[str, Any]) -> str:
    """Say why a response ended, in words of the chat form."""
    if payload.get("status") != "incomplete":
        return "stop"
    details = payload.get("incomplete_details")
    reason = details.get("reason") if type(details) is dict else None
    return "content_filter" if reason == "content_filter" else "length"


def _message(content: Any) -> Iterator[Item]:  # noqa: ANN401 - any JSON
    if type(content) is not list:
        yield Item("text", token_text(content))
        return
    for part in content:
        if type(part) is dict and part.get("type") == "refusal":
            yield Item("refusal", token_text(part.get("refusal")))
        elif type(part) is dict:
            yield Item("text", token_text(part.get("text")))


def _texts(parts: Any) -> str:  # noqa: ANN401 - any JSON
    if type(parts) is not list:
        return ""
    return "".join(token_text(part.get("text")) for part in parts if type(part) is dict)
