"""The token limit, which is always sent: without one most models stop at 256 and call it an ending."""

from __future__ import annotations

import math
from typing import Any, Final

from app.core.model import Model
from app.core.request import GenerationRequest
from app.dialects.messages import estimate_messages
from app.dialects.notes import Notes
from app.dialects.scalars import estimate_json_tokens

DEFAULT: Final = 4096
"""The limit where neither the client nor the catalogue says anything."""

LEAST: Final = 1024
"""Where the estimate leaves no room, the upstream decides whether it fits."""

MARGIN: Final = 1.1
"""The estimate of the prompt may be this much too small."""

RESERVE: Final = 64
"""Tokens that templates add."""

WIDE_MARGIN: Final = 1.3
"""The same where the client gave no limit: JSON and code have more tokens than their size tells."""

WIDE_RESERVE: Final = 256

THINKING_FLOOR: Final = 2048
"""A limit that is not the client's own leaves a thinking model room for the JSON that it was asked for."""

_NAMES: Final = ("max_completion_tokens", "max_output_tokens", "max_tokens")


def token_limit(request: GenerationRequest, model: Model, body: dict[str, Any], notes: Notes) -> int:
    """Choose the token limit of one request.

    Args:
        request: The request.
        model: Its model.
        body: What is sent beside the messages: tools and schemas count as input.
        notes: Takes the client's limit when it has to be lowered.
    """
    wanted = request.max_tokens
    stated = next((name for name in _NAMES if request.raw.get(name) is not None), None)
    if wanted is not None and stated is None and model.reasoning and request.response_format is not None:
        wanted = max(wanted, THINKING_FLOOR)
    if model.context_window is None:
        return DEFAULT if wanted is None else wanted
    prompt = estimate_messages(request.messages)
    prompt += sum(estimate_json_tokens(body[name]) for name in ("tools", "response_format") if name in body)
    if wanted is None:
        # Nobody needs the very last token of the window, and a prompt that is longer than estimated is refused.
        return max(model.context_window - math.ceil(prompt * WIDE_MARGIN) - WIDE_RESERVE, LEAST)
    room = max(model.context_window - math.ceil(prompt * MARGIN) - RESERVE, LEAST)
    if wanted > room:
        notes.adjust(stated or "max_tokens")
        return room
    return wanted
