"""Custom tools, which take one text in any form, as functions with one text field: models know functions only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from app.core.request import Tool
from app.surfaces import fields
from app.surfaces.fields import Path
from app.wire.codec import CodecError, decode, encode

FIELD: Final = "input"
"""The one field of the function that stands for a custom tool."""


def custom_tool(tool: Mapping[str, Any], name: str, description: str, path: Path) -> Tool:
    """Make the function that stands for a custom tool.

    Args:
        tool: The client's tool; its ``format`` says what its input must look like.
        name: What the model is to call it.
        description: What it is for.
        path: Where it stands.

    Raises:
        BadRequest: Its format is malformed.
    """
    return Tool(
        name,
        description,
        {
            "type": "object",
            "properties": {FIELD: {"type": "string", "description": _rule(tool, path)}},
            "required": [FIELD],
            "additionalProperties": False,
        },
    )


def _rule(tool: Mapping[str, Any], path: Path) -> str:
    rule = "The tool's whole input, as plain text."
    form = fields.object_(tool, "format", path)
    if form is None:
        return rule
    here: Path = (*path, "format")
    kind = fields.need(fields.one_of(form, "type", ("text", "grammar"), here), "type", here)
    if kind == "text":
        return rule
    # Chat Completions has the grammar in an object of its own, Responses has it beside the type.
    grammar = fields.object_(form, "grammar", here)
    if grammar is not None:
        form, here = grammar, (*here, "grammar")
    syntax = fields.need(fields.one_of(form, "syntax", ("lark", "regex"), here), "syntax", here)
    definition = fields.need(fields.string(form, "definition", here), "definition", here)
    return f"{rule} It must match this {syntax} grammar:\n{definition}"


def custom_arguments(text: str) -> str:
    """Write a custom tool's input as the arguments of the function that stands for it."""
    return encode({FIELD: text}).decode()


def custom_input(arguments: str) -> str:
    """Read a custom tool's input from the arguments; a call that was cut off, or made carelessly, as far as it goes."""
    for ending in ("", '"}', "}"):
        try:
            value = decode(arguments + ending)
        except CodecError:
            continue
        if isinstance(value, str):
            return value
        if isinstance(value, dict):
            text = value.get(FIELD)
            if isinstance(text, str):
                return text
            others = list(value.values())
            if len(others) == 1 and isinstance(others[0], str):
                return others[0]
        return arguments
    return arguments
