"""What is left for the answer's reader to do."""

from __future__ import annotations

from app.core.request import GenerationRequest, NamedTool, Tool
from app.core.upstream import Emulation
from app.dialects.tools import demanded


def emulation_for(request: GenerationRequest) -> Emulation:
    """Gather what has to be done to the answer of one request, whatever its model can do by itself."""
    callable_ = () if request.tool_choice == "none" else request.tools
    choice = demanded(request) if callable_ else None
    return Emulation(
        stop=_stops(request.knobs.get("stop")),
        one_call=bool(callable_) and request.parallel_tool_calls is False,
        tools=frozenset(tool.name for tool in callable_),
        forced=choice is not None,
        only=_only(callable_, choice.name if isinstance(choice, NamedTool) else None) if choice is not None else None,
    )


def _stops(value: object) -> tuple[str, ...]:
    texts = value if isinstance(value, list | tuple) else (value,)
    return tuple(text for text in texts if isinstance(text, str) and text)


def _only(tools: tuple[Tool, ...], name: str | None) -> Tool | None:
    if name is None:
        return tools[0] if len(tools) == 1 else None
    return next((tool for tool in tools if tool.name == name), None)
