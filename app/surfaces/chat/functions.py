"""Reading ``functions`` and ``function_call``, the form that tools had at first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.core.request import NamedTool, Tool, ToolChoice
from app.surfaces import fields
from app.surfaces.chat.tools import MAX_TOOLS, read_function


def read_functions(body: Mapping[str, Any]) -> tuple[tuple[Tool, ...], ToolChoice | None]:
    """Read the functions on offer, and whether one must be called.

    Raises:
        BadRequest: They are malformed, come beside ``tools``, or the choice is of a function that is not offered.
    """
    listed = fields.objects(body, "functions", max_length=MAX_TOOLS) or ()
    functions = tuple(read_function(function, ("functions", index)) for index, function in enumerate(listed))
    if functions and body.get("tools"):
        raise fields.invalid(("functions",), "it is the older form of 'tools'; send the one or the other.")
    return functions, _read_choice(body, functions)


def _read_choice(body: Mapping[str, Any], functions: tuple[Tool, ...]) -> ToolChoice | None:
    value = body.get("function_call")
    if value is None:
        return None
    if isinstance(value, str):
        return fields.one_of(body, "function_call", ("none", "auto"))  # type: ignore[return-value]  # one of the two
    if not isinstance(value, dict):
        raise fields.wrong_type(("function_call",), "one of a string or an object", value)
    path = ("function_call",)
    name = fields.need(fields.string(value, "name", path), "name", path)
    if name not in {function.name for function in functions}:
        raise fields.invalid((*path, "name"), f"the function '{name[:64]}' is not among 'functions'.")
    return NamedTool(name)


def uses_functions(body: Mapping[str, Any]) -> bool:
    """The client offered its tools in the older form, and reads answers in it."""
    return bool(body.get("functions"))
