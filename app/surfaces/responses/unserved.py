"""What points at something stored, or asks for something to be fetched later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.core.errors import BadRequest
from app.surfaces import fields
from app.surfaces.fields import Path

_REASONS = {
    "previous_response_id": "earlier responses are not stored; send the whole conversation in 'input'.",
    "conversation": "conversations are not stored; send the whole conversation in 'input'.",
}


def check_stored(body: Mapping[str, Any], *, stores: bool, continues: bool = False) -> None:
    """Check the fields that have to do with what is stored.

    Args:
        body: The request.
        stores: Answers are stored.
        continues: Answers can be continued though they are not stored.

    Raises:
        BadRequest: With the field's name.
    """
    background = fields.boolean(body, "background")
    if background and not stores:
        raise fields.unsupported_parameter(("background",), "responses are not stored, so none can be fetched later.")
    if background and fields.boolean(body, "store") is False:
        raise fields.invalid(("store",), "background responses have to be stored.")
    previous = fields.string(body, "previous_response_id", min_length=1)
    conversation = conversation_id(body)
    if previous is not None and conversation is not None:
        reason = "it cannot be used together with 'conversation'; use one of them."
        raise fields.invalid(("previous_response_id",), reason, "mutually_exclusive_parameters")
    if not stores:
        for name, reason in _REASONS.items():
            if body.get(name) is not None and not (continues and name == "previous_response_id"):
                raise fields.unsupported_parameter((name,), reason)
    if fields.object_(body, "prompt") is not None:
        reason = "prompt templates are not stored; send their text in 'instructions' or 'input'."
        raise fields.unsupported_parameter(("prompt",), reason)


def conversation_id(body: Mapping[str, Any]) -> str | None:
    """Read ``conversation``: an id, or an object with one.

    Raises:
        BadRequest: It is neither.
    """
    value = body.get("conversation")
    if value is None:
        return None
    if isinstance(value, str):
        return fields.string(body, "conversation", min_length=1)
    if isinstance(value, dict):
        return fields.need(fields.string(value, "id", ("conversation",), min_length=1), "id", ("conversation",))
    raise fields.wrong_type(("conversation",), "one of a string or an object", value)


def unknown_reference(item: Mapping[str, Any], path: Path) -> BadRequest:
    """An input item that points at another one, which is not there."""
    item_id = fields.need(fields.string(item, "id", path), "id", path)
    return BadRequest(
        f"Item with id '{item_id[:64]}' not found. It is not stored; send the whole item, or set 'store' to false so "
        "that your client does.",
        param="input",
        code="item_not_found",
    )
