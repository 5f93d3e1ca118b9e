"""A conversation as one text, for models that are to see it without their template."""

from __future__ import annotations

from typing import Final

from app.core.errors import BadRequest
from app.core.model import Model
from app.core.request import GenerationRequest, Message, TextContent
from app.dialects.messages import flattened

_NAMES: Final = {"system": "System", "developer": "System", "user": "User", "assistant": "Assistant", "tool": "Tool"}


def write_prompt(request: GenerationRequest, model: Model) -> str:
    """Write a conversation as a prompt: a single message of the user is its text, and nothing else.

    Raises:
        BadRequest: It needs more than text.
    """
    if request.tools and request.tool_choice != "none":
        raise BadRequest("Tools cannot be called with 'raw'.", param="raw", code="unsupported_parameter")
    texts = [_text(message, model) for message in request.messages]
    if len(texts) == 1 and request.messages[0].role == "user":
        return texts[0]
    turns = [f"{_NAMES[message.role]}: {text}" for message, text in zip(request.messages, texts, strict=True) if text]
    return "\n\n".join([*turns, "Assistant:"])


def _text(message: Message, model: Model) -> str:
    if isinstance(message.content, str):
        return message.content
    if any(not isinstance(part, TextContent) for part in message.content):
        raise BadRequest(f"The model {model.id} reads only text with 'raw'.", param="raw", code="unsupported_parameter")
    return flattened(message.content)
