"""Tools and the choice among them, in the one form that every model takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from app.core.errors import BadRequest
from app.core.model import Model
from app.core.request import GenerationRequest, NamedTool, Tool
from app.dialects.notes import Notes

MAX_DEPTH: Final = 40
"""Below this depth of a schema nothing is mended."""

_SCHEMAS: Final = ("items", "additionalProperties", "not", "if", "then", "else")
_LISTS: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
_MAPS: Final = ("$defs", "definitions")


def write_tools(request: GenerationRequest, model: Model, notes: Notes) -> dict[str, Any]:
    """Write the fields about tools: none at all when there are none to call.

    Raises:
        BadRequest: The model calls no tools.
    """
    if not request.tools:
        return {}
    if not model.function_calling:
        if request.tool_choice == "none":
            return {}
        raise BadRequest(f"The model {model.id} cannot call tools.", param="tools", code="unsupported_parameter")
    body: dict[str, Any] = {"tools": [write_tool(tool, model) for tool in request.tools]}
    choice = _choice(request, notes)
    if choice is not None:
        body["tool_choice"] = choice
    # Where the schema does not have it, the answer's reader sees to it.
    if request.parallel_tool_calls is not None and model.shape == "openai":
        body["parallel_tool_calls"] = request.parallel_tool_calls
    return body


def demanded(request: GenerationRequest) -> Literal["required"] | NamedTool | None:
    """The choice that demands a call; ``None`` when the model may also answer in words."""
    choice = request.tool_choice
    # Forced again after a result, a model calls for ever and never answers.
    if not request.tools or (request.messages and request.messages[-1].role == "tool"):
        return None
    return choice if isinstance(choice, NamedTool) or choice == "required" else None


def write_tool(tool: Tool, model: Model) -> dict[str, Any]:
    """Write one tool; what validators are known to refuse is mended, without touching the client's object."""
    function: dict[str, Any] = {
        "name": tool.name,
        "description": tool.description or "",
        "parameters": _parameters(tool.parameters, described=model.shape != "openai"),
    }
    if tool.strict is not None and model.shape == "openai":
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _choice(request: GenerationRequest, notes: Notes) -> str | dict[str, Any] | None:
    choice = request.tool_choice
    if not isinstance(choice, NamedTool) and choice != "required":
        return choice
    if demanded(request) is None:
        notes.adjust("tool_choice")
        return "auto"
    if isinstance(choice, NamedTool):
        return _named(choice.name)
    # "required" is only advice to the engines; the named form is enforced.
    return _named(request.tools[0].name) if len(request.tools) == 1 else choice


def _named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def _parameters(schema: Mapping[str, Any] | None, *, described: bool) -> dict[str, Any]:
    if not isinstance(schema, Mapping) or not schema:
        return {"type": "object", "properties": {}}
    mended = _mended(schema, 0)
    properties = mended.get("properties")
    if not isinstance(properties, Mapping):
        properties = {}
    if described:
        properties = {name: _described(value) for name, value in properties.items()}
    mended["properties"] = properties
    if not isinstance(mended.get("type"), str):
        mended["type"] = "object"
    return mended


def _described(value: Any) -> Any:  # noqa: ANN401 - a schema is any JSON
    """A property as the stricter validators want it: with a description, and with a type of its own."""
    if value is True:
        return {"description": ""}
    if not isinstance(value, Mapping):
        return value
    described = {"description": "", **value}
    if "type" not in described:
        kind = _kind_of(value)
        if kind is not None:
            described["type"] = kind
    return described


def _kind_of(schema: Mapping[str, Any]) -> str | None:
    """The type of the first branch of a schema that is not null."""
    for key in ("anyOf", "oneOf"):
        branches = schema.get(key)
        for branch in branches if isinstance(branches, Sequence) and not isinstance(branches, str) else ():
            kind = branch.get("type") if isinstance(branch, Mapping) else None
            if isinstance(kind, str) and kind != "null":
                return kind
    return None


def _mended(schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """Copy a schema, with empty property lists as objects and descriptions as text, at every level."""
    copy = dict(schema)
    if "description" in copy and not isinstance(copy["description"], str):
        copy["description"] = ""
    if depth > MAX_DEPTH:
        return copy
    properties = copy.get("properties")
    if isinstance(properties, Mapping):
        copy["properties"] = _each(properties, depth)
    elif "properties" in copy:
        copy["properties"] = {}
    for key in _MAPS:
        if isinstance(copy.get(key), Mapping):
            copy[key] = _each(copy[key], depth)
    for key in _SCHEMAS:
        if isinstance(copy.get(key), Mapping):
            copy[key] = _mended(copy[key], depth + 1)
    for key in _LISTS:
        if isinstance(copy.get(key), Sequence) and not isinstance(copy[key], str):
            copy[key] = [_mended(item, depth + 1) if isinstance(item, Mapping) else item for item in copy[key]]
    return copy


def _each(schemas: Mapping[str, Any], depth: int) -> dict[str, Any]:
    return {name: _mended(value, depth + 1) if isinstance(value, Mapping) else value for name, value in schemas.items()}
