"""The conversation, in the words that every model's validator takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from app.core.errors import BadRequest
from app.core.model import Model
from app.core.request import Content, FileContent, ImageContent, Message, TextContent
from app.core.usage import estimate_tokens
from app.dialects.callids import CallIds

CALL_TOKENS: Final = 40
"""The JSON around a call, and its id."""

MESSAGE_TOKENS: Final = 4
"""What a template adds around one message, roughly."""

IMAGE_TOKENS: Final = 1500
"""What one image costs, roughly."""


def write_messages(messages: Iterable[Message], model: Model) -> list[dict[str, Any]]:
    """Write a conversation for one model.

    Raises:
        BadRequest: It holds an image and the model cannot see.
    """
    ids = CallIds()
    return [_message(message, model, ids) for message in messages]


def estimate_messages(messages: Iterable[Message]) -> int:
    """Estimate the tokens of a conversation."""
    total = 0
    for message in messages:
        total += MESSAGE_TOKENS + estimate_tokens(message.reasoning or "")
        if isinstance(message.content, str):
            total += estimate_tokens(message.content)
        else:
            for part in message.content:
                total += estimate_tokens(part.text) if isinstance(part, TextContent) else IMAGE_TOKENS
        for call in message.tool_calls:
            total += CALL_TOKENS + estimate_tokens(call.name) + estimate_tokens(call.arguments)
    return total


def flattened(content: Iterable[Content]) -> str:
    """Join the texts of a list: not every model's schema knows lists of text."""
    return "\n".join(part.text for part in content if isinstance(part, TextContent))


def _message(message: Message, model: Model, ids: CallIds) -> dict[str, Any]:
    role: str = message.role
    # Only OpenAI's schema knows the newer role.
    if role == "developer" and model.shape != "openai":
        role = "system"
    # Never null and never absent: some validators refuse both beside tool calls.
    written: dict[str, Any] = {"role": role, "content": _content(message.content, model)}
    if message.name:
        written["name"] = message.name
    if message.tool_calls:
        ids.turn()
        written["tool_calls"] = [
            {
                "id": ids.call(call.call_id),
                "type": "function",
                # Templates parse this text, and an empty one is not JSON.
                "function": {"name": call.name, "arguments": call.arguments or "{}"},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        written["tool_call_id"] = ids.result(message.tool_call_id)
    # Its own field, never folded into the content. A model that thinks inside its text forgets earlier thoughts.
    if message.reasoning and model.reasoning and not model.thinks_inline:
        written["reasoning_content" if model.shape == "hybrid" else "reasoning"] = message.reasoning
    return written


def _content(content: str | tuple[Content, ...], model: Model) -> str | list[dict[str, Any]]:
    if isinstance(content, str):
        return content
    if not any(isinstance(part, ImageContent) for part in content):
        for part in content:
            if isinstance(part, FileContent):
                raise _unread(part)
        return flattened(content)
    if not model.vision:
        param = next(part.param for part in content if isinstance(part, ImageContent))
        raise BadRequest(f"The model {model.id} cannot read images.", param=param, code="unsupported_value")
    return [_part(part, model) for part in content]


def _part(part: Content, model: Model) -> dict[str, Any]:
    if isinstance(part, TextContent):
        return {"type": "text", "text": part.text}
    if isinstance(part, FileContent):
        raise _unread(part)
    image = {"url": part.url}
    if part.detail is not None and model.shape == "openai":
        image["detail"] = part.detail
    return {"type": "image_url", "image_url": image}


def _unread(part: FileContent) -> BadRequest:
    """Files are turned into text before a dialect sees them; one that was not cannot be sent."""
    return BadRequest("Files cannot be sent to this model.", param=part.param, code="unsupported_value")
