"""Reading the tools of a chat request."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from app.core.errors import BadRequest
from app.core.request import NamedTool, Tool, ToolChoice
from app.surfaces import fields
from app.surfaces.custom import custom_tool
from app.surfaces.depth import shallow
from app.surfaces.fields import Path

MAX_TOOLS = 1024


def read_tools(body: Mapping[str, Any]) -> tuple[Tool, ...]:
    """Read ``tools``, in OpenAI's nested form or in the flat form of its Responses API.

    Raises:
        BadRequest: A tool is malformed, or of a kind that cannot be offered.
    """
    read: list[Tool] = []
    kinds: dict[str, str] = {}
    for index, tool in enumerate(fields.objects(body, "tools", max_length=MAX_TOOLS) or ()):
        path: Path = ("tools", index)
        kind = fields.need(fields.one_of(tool, "type", ("function", "custom"), path), "type", path)
        inner, where = _inner(tool, kind, path)
        made = _read_custom(inner, where) if kind == "custom" else read_function(inner, where)
        if kinds.setdefault(made.name, kind) != kind:
            # Calls are told apart by their name only.
            raise fields.invalid((*where, "name"), f"'{made.name[:64]}' is a function and a custom tool.")
        read.append(made)
    return tuple(read)


def custom_names(body: Mapping[str, Any]) -> frozenset[str]:
    """Tell the names of the custom tools in ``tools``, which have been read."""
    tools = body.get("tools") or ()
    return frozenset(_inner(tool, "custom", ())[0]["name"] for tool in tools if tool["type"] == "custom")


def read_function(function: Mapping[str, Any], path: Path) -> Tool:
    """Read what a function is.

    Raises:
        BadRequest: It is malformed.
    """
    parameters = function.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise fields.invalid((*path, "parameters"), "a JSON schema is an object.", "invalid_function_parameters")
    return Tool(
        name=_read_name(function, path),
        description=_read_description(function),
        parameters=shallow(parameters, (*path, "parameters"), "invalid_function_parameters"),
        strict=fields.boolean(function, "strict", path),
    )


def _read_custom(tool: Mapping[str, Any], path: Path) -> Tool:
    return custom_tool(tool, _read_name(tool, path), _read_description(tool), path)


def _read_name(tool: Mapping[str, Any], path: Path) -> str:
    return fields.need(fields.string(tool, "name", path, min_length=1, max_length=256), "name", path)


def _read_description(tool: Mapping[str, Any]) -> str:
    # Agents send null, or nothing, where a function has no docstring.
    description = tool.get("description")
    return description if isinstance(description, str) else ""


def _inner(tool: Mapping[str, Any], kind: str, path: Path) -> tuple[Mapping[str, Any], Path]:
    """Find where a tool is described: in an object named for its kind, or right here."""
    nested = fields.object_(tool, kind, path)
    if nested is not None:
        return nested, (*path, kind)
    return (tool, path) if "name" in tool else ({}, (*path, kind))


def read_choice(body: Mapping[str, Any], tools: Sequence[Tool]) -> tuple[ToolChoice | None, tuple[Tool, ...]]:
    """Read ``tool_choice``.

    Returns:
        The choice, and the tools that it leaves on offer.

    Raises:
        BadRequest: It is malformed, or names a tool that is not offered.
    """
    value = body.get("tool_choice")
    offered = tuple(tools)
    if value is None:
        return None, offered
    path: Path = ("tool_choice",)
    if isinstance(value, str):
        choice = fields.one_of(body, "tool_choice", ("none", "auto", "required"))
        if choice == "required" and not offered:
            raise BadRequest("'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice")
        return choice, offered  # type: ignore[return-value]  # one of the three, as just checked
    if not isinstance(value, dict):
        raise fields.wrong_type(path, "one of a string or an object", value)
    kind = fields.need(fields.one_of(value, "type", ("function", "custom", "allowed_tools"), path), "type", path)
    if kind == "allowed_tools":
        return _read_allowed(value, path, offered)
    name, where = _named(value, kind, path)
    _expect_offered(name, {tool.name for tool in offered}, where)
    return NamedTool(name), offered


def _named(value: Mapping[str, Any], kind: str, path: Path) -> tuple[str, Path]:
    nested, inner = _inner(value, kind, path)
    return fields.need(fields.string(nested, "name", inner), "name", inner), (*inner, "name")


def _read_allowed(
    value: Mapping[str, Any], path: Path, offered: tuple[Tool, ...]
) -> tuple[ToolChoice | None, tuple[Tool, ...]]:
    inner: Path = (*path, "allowed_tools")
    allowed = fields.object_(value, "allowed_tools", path)
    if allowed is None:
        allowed, inner = value, path
    mode = fields.need(fields.one_of(allowed, "mode", ("auto", "required"), inner), "mode", inner)
    tools = fields.need(fields.objects(allowed, "tools", inner, min_length=1), "tools", inner)
    names = set()
    for index, tool in enumerate(tools):
        here: Path = (*inner, "tools", index)
        named = fields.one_of(tool, "type", ("function", "custom"), here) or "function"
        name, where = _named(tool, named, here)
        _expect_offered(name, {tool.name for tool in offered}, where)
        names.add(name)
    left = tuple(tool for tool in offered if tool.name in names)
    return mode, left  # type: ignore[return-value]  # 'auto' or 'required', as just checked


def _expect_offered(name: str, offered: Collection[str], where: Path) -> None:
    if name not in offered:
        raise fields.invalid(where, f"the tool '{name[:64]}' is not among 'tools'.")
