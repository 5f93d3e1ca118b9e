"""Reading the conversation of a chat request."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from app.core.errors import BadRequest
from app.core.request import Content, Message, TextContent, ToolCall
from app.surfaces import fields
from app.surfaces.custom import custom_arguments
from app.surfaces.fields import Path
from app.surfaces.media import read_file, read_image

ROLES = ("developer", "system", "user", "assistant", "tool", "function")

_NO_AUDIO = "Audio input is not supported by any text model on Workers AI."


def read_messages(body: Mapping[str, Any]) -> tuple[Message, ...]:
    """Read ``messages``.

    Raises:
        BadRequest: A message is malformed, or calls and results of tools do not match.
    """
    messages = fields.need(fields.objects(body, "messages", min_length=1), "messages")
    read: list[Message] = []
    unanswered: dict[str, None] = {}
    for index, message in enumerate(messages):
        path: Path = ("messages", index)
        role = fields.need(fields.one_of(message, "role", ROLES, path), "role", path)
        if role in {"tool", "function"}:
            read.append(_read_result(message, role, path, unanswered))
            continue
        _expect_answered(unanswered, index)
        if role == "assistant":
            turn = _read_assistant(message, path)
            unanswered = dict.fromkeys(call.call_id for call in turn.tool_calls)
        else:
            content = _read_content(message, path, media=role == "user")
            if content is None:
                raise fields.missing((*path, "content"))
            turn = Message(
                role,  # type: ignore[arg-type]  # narrowed by ROLES and the branches above
                content,
                name=fields.string(message, "name", path),
            )
        read.append(turn)
    _expect_answered(unanswered, None)
    return tuple(read)


def _read_result(message: Mapping[str, Any], role: str, path: Path, unanswered: dict[str, None]) -> Message:
    content = _read_content(message, path, media=False)
    if content is None and role == "tool":
        raise fields.missing((*path, "content"))
    if role == "tool":
        call_id = fields.need(fields.string(message, "tool_call_id", path, min_length=1), "tool_call_id", path)
    else:
        # The deprecated form knows a call by its name only, and there can be but one.
        name = fields.need(fields.string(message, "name", path, min_length=1), "name", path)
        call_id = _function_call_id(name)
    if call_id not in unanswered:
        raise BadRequest(
            f"Messages with role '{role}' must be a response to a preceding message with 'tool_calls'; "
            "each call is answered once.",
            param=f"messages.[{path[1]}].role",
        )
    del unanswered[call_id]
    return Message("tool", content or "", tool_call_id=call_id)


def _expect_answered(unanswered: Collection[str], index: int | None) -> None:
    if unanswered:
        missing = ", ".join(unanswered)
        raise BadRequest(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {missing[:256]}",
            param="messages" if index is None else f"messages.[{index}].role",
        )


def _read_assistant(message: Mapping[str, Any], path: Path) -> Message:
    calls = tuple(_read_calls(message, path))
    content = _read_content(message, path, media=False)
    refusal = fields.string(message, "refusal", path)
    if content is None and refusal is not None:
        content = refusal
    reasoning = _reasoning(message)
    # A turn that was cut off while thinking has thoughts and nothing else.
    if content is None and not calls and not reasoning and not isinstance(message.get("audio"), dict):
        raise fields.missing((*path, "content"))
    return Message(
        "assistant",
        content or "",
        tool_calls=calls,
        reasoning=reasoning,
        name=fields.string(message, "name", path),
    )


def _reasoning(message: Mapping[str, Any]) -> str | None:
    # Two conventions for one thing; OpenAI's API has neither, so other types than text are simply not it.
    for key in ("reasoning_content", "reasoning"):
        text = message.get(key)
        if isinstance(text, str) and text:
            return text
    return None


def _read_calls(message: Mapping[str, Any], path: Path) -> list[ToolCall]:
    read: list[ToolCall] = []
    seen: set[str] = set()
    for index, call in enumerate(fields.objects(message, "tool_calls", path) or ()):
        here: Path = (*path, "tool_calls", index)
        call_id = fields.need(fields.string(call, "id", here, min_length=1), "id", here)
        if call_id in seen:
            raise fields.invalid((*here, "id"), f"the id '{call_id[:64]}' is used by two calls of one message.")
        seen.add(call_id)
        kind = fields.one_of(call, "type", ("function", "custom"), here) or "function"
        inner: Path = (*here, kind)
        function = fields.need(fields.object_(call, kind, here), kind, here)
        name = fields.need(fields.string(function, "name", inner, min_length=1), "name", inner)
        if kind == "custom":
            # The model knows the tool as a function, and so does it know its own calls.
            arguments = custom_arguments(fields.string(function, "input", inner) or "")
        else:
            arguments = fields.string(function, "arguments", inner) or ""
        read.append(ToolCall(call_id, name, arguments))
    deprecated = fields.object_(message, "function_call", path)
    if deprecated is not None and not read:
        inner = (*path, "function_call")
        name = fields.need(fields.string(deprecated, "name", inner, min_length=1), "name", inner)
        read.append(ToolCall(_function_call_id(name), name, fields.string(deprecated, "arguments", inner) or ""))
    return read


def _function_call_id(name: str) -> str:
    return f"call_{name}"


def _read_content(message: Mapping[str, Any], path: Path, *, media: bool) -> str | tuple[Content, ...] | None:
    value = message.get("content")
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise fields.wrong_type((*path, "content"), "one of a string or array of objects", value)
    return tuple(_read_parts(value, (*path, "content"), media=media)) or ""


def _read_parts(parts: Sequence[Any], path: Path, *, media: bool) -> list[Content]:
    read: list[Content] = []
    supported = ("text", "image_url", "input_audio", "file") if media else ("text", "refusal")
    for index, part in enumerate(parts):
        here: Path = (*path, index)
        if not isinstance(part, dict):
            raise fields.wrong_type(here, "an object", part)
        kind = fields.need(fields.one_of(part, "type", supported, here), "type", here)
        if kind in {"text", "refusal"}:
            read.append(TextContent(fields.need(fields.string(part, kind, here), kind, here)))
        elif kind == "input_audio":
            raise fields.unsupported_value((*here, "type"), kind, _NO_AUDIO)
        else:
            inner: Path = (*here, kind)
            medium = fields.need(fields.object_(part, kind, here), kind, here)
            read.append(read_image(medium, "url", inner) if kind == "image_url" else read_file(medium, inner))
    return read
