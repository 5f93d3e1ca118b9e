"""Prompts and answers as attributes of spans, in the conventions' JSON; written only where a setting asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from app.core.generation import Generation
from app.core.request import Content, GenerationRequest, ImageContent, Message, TextContent
from app.wire.codec import encode

LONGEST: Final = 16_384
"""Characters of one text that are written: an exporter drops what is too large as a whole."""

_REASONS: Final[Mapping[str | None, str]] = {"tool_calls": "tool_call", None: "error"}
"""The conventions' words, where they are others than OpenAI's."""

_INSTRUCTING: Final = frozenset({"system", "developer"})


def system_instructions(request: GenerationRequest) -> str | None:
    """What the model was told before the conversation; ``None`` when nothing was."""
    parts = [part for one in request.messages if one.role in _INSTRUCTING for part in _parts(one)]
    return _json(parts) if parts else None


def input_messages(request: GenerationRequest) -> str:
    """The conversation."""
    turns = [one for one in request.messages if one.role not in _INSTRUCTING]
    return _json([{"role": one.role, "parts": _parts(one)} for one in turns])


def tool_definitions(request: GenerationRequest) -> str | None:
    """The tools on offer; ``None`` when there were none."""
    tools = [
        {"type": "function", "name": tool.name, "description": _cut(tool.description), "parameters": tool.parameters}
        for tool in request.tools
    ]
    return _json(tools) if tools else None


def output_messages(generations: Sequence[Generation]) -> str:
    """The answer, one message for each choice."""
    return _json(
        [
            {"role": "assistant", "parts": _generated(one), "finish_reason": _REASONS.get(one.reason, one.reason)}
            for one in generations
        ]
    )


def _parts(message: Message) -> list[dict[str, Any]]:
    if message.role == "tool":
        text = "".join(piece["content"] for piece in _pieces(message.content) if piece["type"] == "text")
        return [{"type": "tool_call_response", "id": message.tool_call_id, "response": text}]
    reasoning = [{"type": "reasoning", "content": _cut(message.reasoning)}] if message.reasoning else []
    calls = [_call(call.call_id, call.name, call.arguments) for call in message.tool_calls]
    return [*reasoning, *_pieces(message.content), *calls]


def _pieces(content: str | tuple[Content, ...]) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "content": _cut(content)}] if content else []
    return [_piece(piece) for piece in content]


def _piece(piece: Content) -> dict[str, Any]:
    if isinstance(piece, TextContent):
        return {"type": "text", "content": _cut(piece.text)}
    if isinstance(piece, ImageContent) and not piece.url.startswith("data:"):
        return {"type": "uri", "modality": "image", "uri": _cut(piece.url)}
    # Bytes in the request itself: too large, and of no use in a trace.
    return {"type": "image"} if isinstance(piece, ImageContent) else {"type": "document", "name": piece.name}


def _generated(generation: Generation) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    for part in generation.parts:
        if part.kind == "tool_call":
            parts.append(_call(part.call_id, part.name, part.text))
        else:
            parts.append({"type": "reasoning" if part.kind == "reasoning" else "text", "content": _cut(part.text)})
    return parts


def _call(call_id: str | None, name: str | None, arguments: str) -> dict[str, Any]:
    return {"type": "tool_call", "id": call_id, "name": name or "", "arguments": _cut(arguments)}


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


def _json(value: object) -> str:
    return encode(value).decode()
