"""What a Responses request only names: found without checking, for what is malformed is refused when it is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from app.core.surface import Wants

_NAMING: Final = frozenset({"item_reference", "reasoning", "compaction"})

REASONING: Final = "reasoning"
COMPACTION: Final = "compaction"


def find_wants(body: Mapping[str, Any]) -> Wants:
    """Find what has to be fetched before a request can be read."""
    conversation = body.get("conversation")
    if isinstance(conversation, dict):
        conversation = conversation.get("id")
    items = [item for item in _items(body) if _text(item.get("type")) in _NAMING]
    return Wants(
        previous=_text(body.get("previous_response_id")),
        conversation=_text(conversation),
        items=tuple(name for item in items if item.get("type") == "item_reference" and (name := _text(item.get("id")))),
        sealed=tuple(sealed_in(items)),
    )


def sealed_in(items: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Find the sealed texts that say what their items do not, each with the kind of thing that it should be."""
    for item in items:
        kind = item.get("type")
        if kind in {REASONING, COMPACTION} and not item.get("content"):
            text = _text(item.get("encrypted_content"))
            if text is not None:
                yield kind, text


def _items(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    value = body.get("input")
    for item in value if isinstance(value, list) else ():
        if isinstance(item, dict):
            yield item


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
