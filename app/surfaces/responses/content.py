"""Reading what a message or a tool's output holds: a string, or parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from app.core.request import Content, ImageContent, TextContent
from app.surfaces import fields
from app.surfaces.fields import Path
from app.surfaces.media import read_file, read_image

_TEXT_FIELD: Final[Mapping[str, str]] = {
    "input_text": "text",
    "output_text": "text",
    "text": "text",
    "refusal": "refusal",
}

_NO_AUDIO = "Audio cannot be read by text models; transcribe it first."

_SUPPORTED = ("input_text", "input_image", "input_file", "output_text", "refusal")


def read_content(item: Mapping[str, Any], key: str, path: Path) -> str | tuple[Content, ...] | None:
    """Read a string or an array of parts; ``None`` when the field is absent.

    Raises:
        BadRequest: A part is malformed, or of a kind that cannot be served.
    """
    value = item.get(key)
    if value is None or isinstance(value, str):
        return value
    here: Path = (*path, key)
    if not isinstance(value, list):
        raise fields.wrong_type(here, "one of a string or array of objects", value)
    parts = tuple(_read_part(part, (*here, index)) for index, part in enumerate(value))
    if not parts:
        return ""
    first = parts[0]
    return first.text if len(parts) == 1 and isinstance(first, TextContent) else parts


def _read_part(part: object, path: Path) -> Content:
    if not isinstance(part, dict):
        raise fields.wrong_type(path, "an object", part)
    kind = fields.need(fields.string(part, "type", path), "type", path)
    key = _TEXT_FIELD.get(kind)
    if key is not None:
        return TextContent(fields.need(fields.string(part, key, path), key, path))
    if kind == "input_image":
        return _read_image(part, path)
    if kind == "input_file":
        return read_file(part, path)
    if kind == "input_audio":
        raise fields.unsupported_value((*path, "type"), kind, _NO_AUDIO)
    raise fields.wrong_value((*path, "type"), kind, _SUPPORTED)


def _read_image(part: Mapping[str, Any], path: Path) -> ImageContent:
    if part.get("image_url") is None and part.get("file_id") is not None:
        raise fields.unsupported_parameter((*path, "file_id"), "files are not stored; send a data URL in 'image_url'.")
    return read_image(part, "image_url", path)
