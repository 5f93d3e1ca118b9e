"""What a Responses request only names: found without checking, for what is malformed is refused when it is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from app.core.surface import Wants

REASONING: Final = "reasoning"
COMPACTION: Final = "compaction"


def find_wants(body: Mapping[str, Any]) -> Wants:
    """Find what has to be fetched before a request can be read."""
    conversation = body.get("conversation")
    if isinstance(conversation, dict):
        conversation = conversation.get("id")
    items = [item for item in _items(body) if item.get("type") in {"item_reference", "reasoning", "compaction"}]
    return Wants(
        previous=_text(body.get("previous_response_id")),
        conversation=_text(conversation),
        items=tuple(name for item in items if item.get("type") == "item_reference" and (name := _text(item.get("id")))),
        sealed=tuple(
            (REASONING if item.get("type") == "reasoning" else COMPACTION, text)
            for item in items
            if (text := _text(item.get("encrypted_content"))) and not item.get("content")
        ),
    )


def _items(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    value = body.get("input")
    for item in value if isinstance(value, list) else ():
        if isinstance(item, dict):
            yield item


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
