"""Tool calls that a model wrote as text: recognised only when they name a tool that was offered."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from msgspec import Struct

from app.core.request import Tool
from app.dialects.calls import unwrapped
from app.dialects.scalars import json_text
from app.wire.codec import CodecError, decode, encode

_NAMESPACE: Final = "functions."
"""Where gpt-oss's own format keeps the client's tools."""

_LITERALS: Final = {"True": "true", "False": "false", "None": "null"}
# A string without an end takes everything: nothing is looked at twice.
_TOKEN = re.compile(r"""'(?:[^'\\]|\\.)*+'?|"(?:[^"\\]|\\.)*+"?|\b(?:True|False|None)\b""", re.DOTALL)
_ESCAPED = re.compile(r"""\\x([0-9a-fA-F]{2})|\\'|\\.|["\x00-\x1f]""", re.DOTALL)


class TextCall(Struct, frozen=True):
    """A tool call found in text.

    Attributes:
        name: The tool.
        arguments: A JSON object, as text.
    """

    name: str
    arguments: str


def loosely_decoded(text: str) -> Any:  # noqa: ANN401 - any JSON
    """Decode JSON, or what Python would print in its place; ``None`` if it is neither."""
    for form in (str, _from_python):
        try:
            return decode(form(text).encode("utf-8", "replace"))
        except CodecError:
            continue
    return None


def call_in(value: object, offered: Collection[str]) -> TextCall | None:
    """Read an object that names an offered tool.

    Args:
        value: Any JSON.
        offered: The names of the tools.
    """
    if not isinstance(value, dict):
        return None
    function = value.get("function")
    source = function if isinstance(function, dict) else value
    name = _name(source.get("name"), offered)
    if name is None:
        return None
    for key in ("arguments", "parameters"):
        if key in source:
            arguments = _arguments(source[key])
            return None if arguments is None else TextCall(name, arguments)
    flat = {key: item for key, item in source.items() if key != "name" and (key, item) != ("type", "function")}
    return TextCall(name, json_text(flat))


def calls_in(value: object, offered: Collection[str], only: Tool | None) -> list[TextCall]:
    """Read a whole text's JSON as tool calls: all of it is calls, or none.

    Args:
        value: Any JSON.
        offered: The names of the tools.
        only: The one tool that had to be called: an object that names none may be its arguments.
    """
    if isinstance(value, list):
        found = [call_in(item, offered) for item in value]
        return [call for call in found if call is not None] if None not in found else []
    call = call_in(value, offered)
    if call is not None:
        return [call]
    if only is not None and isinstance(value, dict) and _fits(value, only.parameters or {}):
        return [TextCall(only.name, json_text(value))]
    return []


def _name(value: object, offered: Collection[str]) -> str | None:
    if not isinstance(value, str):
        return None
    if value in offered:
        return value
    value = value.removeprefix(_NAMESPACE)
    return value if value in offered else None


def _arguments(value: object) -> str | None:
    if value is None:
        return "{}"
    if isinstance(value, str):
        value = loosely_decoded(unwrapped(value).strip() or "{}")
    return json_text(value) if isinstance(value, dict) else None


def _fits(value: Mapping[str, Any], schema: Mapping[str, Any]) -> bool:
    """Tell whether an object can be meant as arguments: each key is known, and none that is required is missing."""
    properties, required = schema.get("properties"), schema.get("required")
    known = properties if isinstance(properties, Mapping) else {}
    needed = required if isinstance(required, list) else []
    return all(key in known for key in value) and all(key in value for key in needed)


def _from_python(text: str) -> str:
    return _TOKEN.sub(_as_json, text)


def _as_json(match: re.Match[str]) -> str:
    token = match[0]
    if token in _LITERALS:
        return _LITERALS[token]
    return f'"{_ESCAPED.sub(_escape, token[1:-1])}"'


def _escape(match: re.Match[str]) -> str:
    found = match[0]
    if match[1]:
        return f"\\u00{match[1]}"
    if found == "\\'":
        return "'"
    # A bare quote or control character is escaped; any other escape is the same in both languages.
    return found if len(found) > 1 else encode(found).decode()[1:-1]
