"""The tools of a request, and the way back from the name that the model knows to the tool that the client offered.

The model is offered functions only. A custom tool becomes a function with one text field, the functions of a
namespace become functions with longer names, and tools that OpenAI would run on its own machines are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from app.core.request import Tool
from app.surfaces import fields
from app.surfaces.custom import custom_tool
from app.surfaces.depth import shallow
from app.surfaces.fields import Path

MAX_NAME = 64
"""The longest name that every model's schema takes."""

_BEFORE: Path = ("input",)
"""Where tools that came earlier in the conversation stand, for errors."""

_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]")


class Origin(Struct, frozen=True):
    """The client's side of a tool.

    Attributes:
        kind: What the client calls it.
        name: Its name, without its namespace.
        namespace: The namespace it was offered in, if any.
    """

    kind: Literal["function", "custom"]
    name: str
    namespace: str | None = None


class Toolbox(Struct, frozen=True):
    """All tools of one request.

    Attributes:
        tools: What the model is offered.
        origins: The client's side of each tool, by the name that the model knows.
        dropped: Paths of the tools that were left out.
    """

    tools: tuple[Tool, ...]
    origins: Mapping[str, Origin]
    dropped: tuple[str, ...] = ()

    def origin(self, name: str) -> Origin:
        """Find the tool that a call means; a model that forgets a namespace is understood where it is unambiguous."""
        found = self.origins.get(name)
        if found is not None:
            return found
        similar = [origin for origin in self.origins.values() if origin.namespace and origin.name == name]
        return similar[0] if len(similar) == 1 else Origin("function", name)

    def find(self, name: str, namespace: str | None) -> str | None:
        """Find the name by which the model knows a tool of the client's; ``None`` when it is not offered."""
        for offered, origin in self.origins.items():
            if origin.name == name and origin.namespace == (namespace or None):
                return offered
        return None

    def name_of_call(self, name: str, namespace: str | None) -> str:
        """Name the tool of an earlier call, which need not be on offer any more, as the model knows it."""
        return name if not namespace else self.find(name, namespace) or flat_name(name, namespace)


NO_TOOLS: Final = Toolbox((), {})


def flat_name(name: str, namespace: str | None) -> str:
    """Join a name and its namespace into one that every model takes."""
    if not namespace:
        return name
    joined = _NOT_IN_NAMES.sub("_", f"{namespace}__{name}")
    if len(joined) <= MAX_NAME:
        return joined
    return _marked_name(name, namespace)


def _marked_name(name: str, namespace: str) -> str:
    mark = sha256(f"{namespace}\0{name}".encode()).hexdigest()[:8]
    joined = _NOT_IN_NAMES.sub("_", f"{namespace}__{name}")
    return f"{joined[: MAX_NAME - 9]}_{mark}"


def read_tools(body: Mapping[str, Any], context: Sequence[Mapping[str, Any]] = ()) -> Toolbox:
    """Read ``tools``, and the tools that come as items of ``input`` or came so before.

    Args:
        body: The request.
        context: The items that came before.

    Raises:
        BadRequest: A tool is malformed.
    """
    tools: dict[str, Tool] = {}
    origins: dict[str, Origin] = {}
    dropped: list[str] = []
    for tool, path in _every_tool(body, context):
        kind = fields.need(fields.string(tool, "type", path), "type", path)
        if kind not in {"function", "custom", "namespace"}:
            # What was left out before was told before.
            if path != _BEFORE:
                dropped.append(fields.text_of(path))
            continue
        for origin, tool_read in _read_one(tool, kind, path, dropped):
            read = tool_read
            if origin.namespace and origins.get(read.name, origin) != origin:
                read = replace(read, name=_marked_name(origin.name, origin.namespace))
            # A tool that comes again, as in a transcript that is sent whole each turn, replaces the first.
            tools[read.name] = read
            origins[read.name] = origin
    return Toolbox(tuple(tools.values()), origins, tuple(dropped))


def _every_tool(
    body: Mapping[str, Any], context: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[Mapping[str, Any], Path]]:
    for item in context:
        if item.get("type") == "additional_tools":
            for tool in fields.objects(item, "tools", _BEFORE) or ():
                yield tool, _BEFORE
    for index, tool in enumerate(fields.objects(body, "tools") or ()):
        yield tool, ("tools", index)
    items = body.get("input")
    if not isinstance(items, list):
        return
    for place, item in enumerate(items):
        if isinstance(item, dict) and item.get("type") == "additional_tools":
            path: Path = ("input", place)
            for index, tool in enumerate(fields.objects(item, "tools", path) or ()):
                yield tool, (*path, "tools", index)


def _read_one(tool: Mapping[str, Any], kind: str, path: Path, dropped: list[str]) -> Iterator[tuple[Origin, Tool]]:
    if kind != "namespace":
        yield _read_tool(tool, kind, path, None)
        return
    namespace = fields.need(fields.string(tool, "name", path, min_length=1), "name", path)
    for index, inner in enumerate(fields.need(fields.objects(tool, "tools", path), "tools", path)):
        here: Path = (*path, "tools", index)
        inner_kind = fields.need(fields.string(inner, "type", here), "type", here)
        if inner_kind in {"function", "custom"}:
            yield _read_tool(inner, inner_kind, here, namespace)
        else:
            dropped.append(fields.text_of(here))


def _read_tool(tool: Mapping[str, Any], kind: str, path: Path, namespace: str | None) -> tuple[Origin, Tool]:
    name = fields.need(fields.string(tool, "name", path, min_length=1, max_length=128), "name", path)
    if not _NAME.fullmatch(name):
        reason = "string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'."
        raise fields.invalid((*path, "name"), reason)
    given = tool.get("description")
    # Agents send null, false, or nothing, where a function has no docstring.
    description = given if isinstance(given, str) else ""
    offered = flat_name(name, namespace)
    if kind == "custom":
        return Origin("custom", name, namespace), custom_tool(tool, offered, description, path)
    read = Tool(
        offered,
        description,
        shallow(fields.object_(tool, "parameters", path), (*path, "parameters"), "invalid_function_parameters"),
        strict=fields.boolean(tool, "strict", path),
    )
    return Origin("function", name, namespace), read


def echo_tools(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Tell which tools were offered, a function with all its five keys; what was left out is not told."""
    tools: Sequence[Mapping[str, Any]] = body.get("tools") or ()
    return [_echo(tool) for tool in tools if tool["type"] in {"function", "custom", "namespace"}]


def _echo(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    if tool["type"] != "function":
        return tool
    description = tool.get("description")
    return {
        "type": "function",
        "name": tool["name"],
        "description": description if isinstance(description, str) else None,
        "parameters": tool.get("parameters"),
        # Nothing is enforced unless it was asked for.
        "strict": tool.get("strict") is True,
    }
