"""What needs a store of earlier answers, and is refused as long as there is none.

This is the one place to lift when there is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.core.errors import BadRequest
from app.surfaces import fields
from app.surfaces.fields import Path

STORES = False
"""Whether an answer can be fetched later; echoed as ``store``."""

_REASONS = {
    "previous_response_id": "earlier responses are not stored; send the whole conversation in 'input'.",
    "conversation": "conversations are not stored; send the whole conversation in 'input'.",
    "prompt": "prompt templates are not stored; send their text in 'instructions' or 'input'.",
}


def refuse_stored(body: Mapping[str, Any]) -> None:
    """Refuse the fields that point at something stored, or ask for something to be fetched later.

    Raises:
        BadRequest: With the field's name.
    """
    if fields.boolean(body, "background"):
        raise fields.unsupported_parameter(("background",), "responses are not stored, so none can be fetched later.")
    fields.string(body, "previous_response_id")
    fields.object_(body, "prompt")
    conversation = body.get("conversation")
    if conversation is not None and not isinstance(conversation, str | dict):
        raise fields.wrong_type(("conversation",), "one of a string or an object", conversation)
    for name, reason in _REASONS.items():
        if body.get(name) is not None:
            raise fields.unsupported_parameter((name,), reason)


def refuse_reference(item: Mapping[str, Any], path: Path) -> BadRequest:
    """An input item that points at a stored one."""
    item_id = fields.need(fields.string(item, "id", path), "id", path)
    return BadRequest(
        f"Item with id '{item_id[:64]}' not found. Items are not stored; send the whole item, or set 'store' to false "
        "so that your client does.",
        param="input",
        code="item_not_found",
    )
