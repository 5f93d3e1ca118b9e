"""Items as they are stored: every one with an id, a type and a status, texts as lists of parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from app.core.surface import NewId
from app.surfaces import fields
from app.surfaces.depth import shallow
from app.surfaces.fields import Path

_PREFIXES: Final[Mapping[str, str]] = {
    "message": "msg_",
    "reasoning": "rs_",
    "function_call": "fc_",
    "function_call_output": "fco_",
    "custom_tool_call": "ctc_",
    "custom_tool_call_output": "ctco_",
    "compaction": "cmp_",
}
_OTHER: Final = "item_"

_STATUSES: Final = frozenset({"message", "function_call", "function_call_output"})
"""The kinds of items that tell how far they came."""


def read_items(body: Mapping[str, Any], new_id: NewId, *, max_items: int) -> list[dict[str, Any]]:
    """Read ``items`` to be stored.

    Raises:
        BadRequest: They are missing, too many, or malformed.
    """
    items = fields.need(fields.objects(body, "items", min_length=1, max_length=max_items), "items")
    for index, item in enumerate(items):
        _check(item, ("items", index))
    return to_store(items, new_id)


def read_metadata(body: Mapping[str, Any]) -> dict[str, str]:
    """Read ``metadata``; none is empty.

    Raises:
        BadRequest: It is malformed.
    """
    return dict(fields.metadata(body) or {})


def to_store(items: Sequence[Mapping[str, Any]], new_id: NewId) -> list[dict[str, Any]]:
    """Bring input items into the form in which they are stored and listed.

    Args:
        items: As the client sent them, already checked.
        new_id: Makes ids for items that have none.
    """
    return [_stored(item, new_id) for item in items]


def input_items(raw: Mapping[str, Any], resolved: Mapping[str, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The input of a request as a list of items, references replaced by what they refer to."""
    value = raw.get("input")
    if isinstance(value, str):
        return [{"type": "message", "role": "user", "content": value}]
    items = []
    for item in value or ():
        if item.get("type") == "item_reference":
            found = resolved.get(item.get("id") or "")
            if found is not None:
                items.append(found)
        else:
            items.append(item)
    return items


def _stored(item: Mapping[str, Any], new_id: NewId) -> dict[str, Any]:
    kind = item.get("type") or "message"
    given = item.get("id")
    stored: dict[str, Any] = {
        **{name: value for name, value in item.items() if value is not None},
        "id": given if isinstance(given, str) and given else new_id(_PREFIXES.get(kind, _OTHER)),
        "type": kind,
    }
    if kind == "message":
        stored["content"] = _parts(item.get("content"), assistant=item.get("role") == "assistant")
    if kind == "reasoning":
        stored.setdefault("summary", [])
    if kind in _STATUSES:
        stored.setdefault("status", "completed")
    return stored


def _parts(content: object, *, assistant: bool) -> list[Any]:
    if isinstance(content, str):
        if assistant:
            return [{"type": "output_text", "text": content, "annotations": [], "logprobs": []}]
        return [{"type": "input_text", "text": content}]
    return [_part(part) for part in content] if isinstance(content, list) else []


def _part(part: Any) -> Any:  # noqa: ANN401 - a part of any kind
    if isinstance(part, dict) and part.get("type") == "output_text":
        return {"annotations": [], "logprobs": [], **part}
    if isinstance(part, dict) and part.get("type") == "input_image":
        return {"detail": "auto", **part}
    return part


def _check(item: Mapping[str, Any], path: Path) -> None:
    kind = fields.string(item, "type", path)
    if kind is None and "role" not in item:
        raise fields.missing((*path, "type"))
    fields.string(item, "id", path, max_length=256)
    if kind in {None, "message"}:
        roles = ("user", "assistant", "system", "developer")
        fields.need(fields.one_of(item, "role", roles, path), "role", path)
        content = item.get("content")
        if content is None:
            raise fields.missing((*path, "content"))
        if not isinstance(content, str):
            fields.objects(item, "content", path)
    if kind in {"function_call", "custom_tool_call"}:
        fields.need(fields.string(item, "call_id", path), "call_id", path)
        fields.need(fields.string(item, "name", path), "name", path)
    if kind == "item_reference":
        raise fields.unsupported_value((*path, "type"), kind, "Send the item itself.")
    shallow(item, path)
