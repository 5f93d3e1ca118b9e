"""Reading ``tool_choice``, which may also narrow the tools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from app.core.request import NamedTool, Tool, ToolChoice
from app.surfaces import fields
from app.surfaces.fields import Path
from app.surfaces.responses.tools import Toolbox

_PATH: Path = ("tool_choice",)


def read_choice(body: Mapping[str, Any], toolbox: Toolbox) -> tuple[ToolChoice | None, tuple[Tool, ...]]:
    """Read ``tool_choice``.

    Returns:
        The choice, and the tools that it leaves; no choice at all where there is nothing to choose from.

    Raises:
        BadRequest: It is malformed, or forces a tool that is not offered.
    """
    value = body.get("tool_choice")
    if isinstance(value, dict):
        return _read_object(value, toolbox)
    if value is None:
        return None, toolbox.tools
    if not isinstance(value, str):
        raise fields.wrong_type(_PATH, "one of a string or an object", value)
    match value:
        case "none" | "auto":
            return (value if toolbox.tools else None), toolbox.tools
        case "required":
            return _required(toolbox.tools), toolbox.tools
        case _:
            raise fields.wrong_value(_PATH, value, ("none", "auto", "required"))


def _read_object(value: Mapping[str, Any], toolbox: Toolbox) -> tuple[ToolChoice | None, tuple[Tool, ...]]:
    kind = fields.need(fields.string(value, "type", _PATH), "type", _PATH)
    if kind in {"function", "custom"}:
        return NamedTool(_read_name(value, _PATH, toolbox)), toolbox.tools
    if kind == "allowed_tools":
        return _read_allowed(value, toolbox)
    raise fields.unsupported_value((*_PATH, "type"), kind, "Only functions and custom tools can be called.")


def _read_allowed(value: Mapping[str, Any], toolbox: Toolbox) -> tuple[ToolChoice | None, tuple[Tool, ...]]:
    mode = fields.need(fields.one_of(value, "mode", ("auto", "required"), _PATH), "mode", _PATH)
    allowed = set()
    tools = fields.need(fields.objects(value, "tools", _PATH, min_length=1), "tools", _PATH)
    for index, tool in enumerate(tools):
        path: Path = (*_PATH, "tools", index)
        kind = fields.need(fields.string(tool, "type", path), "type", path)
        if kind in {"function", "custom"}:
            allowed.add(_read_name(tool, path, toolbox))
    left = tuple(tool for tool in toolbox.tools if tool.name in allowed)
    if mode == "required":
        return _required(left), left
    return ("auto" if left else None), left


def _read_name(value: Mapping[str, Any], path: Path, toolbox: Toolbox) -> str:
    name = fields.need(fields.string(value, "name", path), "name", path)
    found = toolbox.find(name, fields.string(value, "namespace", path))
    if found is None:
        raise fields.invalid(path, f"the tool '{name[:64]}' was not found in 'tools'.")
    return found


def _required(tools: tuple[Tool, ...]) -> Literal["required"]:
    if not tools:
        raise fields.invalid(_PATH, "a tool call is required, but there is no tool that could be called.")
    return "required"
