"""Where a request can go: which models can do it in another's place, and which target is asked first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from app.core.model import Model
from app.core.request import GenerationRequest, ImageContent
from app.exchange.attempts import Trouble
from app.exchange.counting import count_input
from app.exchange.health import Standing

LEAST_OUTPUT: Final = 1024
"""The room that a request without a token limit has to have in another model's window."""

MARGIN: Final = 1.1
"""The estimate of the input may be this much too small."""


def suffices(request: GenerationRequest, model: Model) -> bool:
    """A model can do what a request asks for, as far as the catalogue tells.

    Args:
        request: What to generate.
        model: The model that would do it in another's place.
    """
    if model.task != "Text Generation" or not model.chat:
        return False
    # A prompt without its model's template, and an adapter, are for one model.
    if request.extra.get("raw") or request.extra.get("lora"):
        return False
    if request.tools and request.tool_choice != "none" and not model.function_calling:
        return False
    if request.response_format is not None and model.json_schema == "none":
        return False
    if not model.vision and _shows_images(request):
        return False
    if model.context_window is None:
        return True
    wanted = LEAST_OUTPUT if request.max_tokens is None else request.max_tokens
    return count_input(request) * MARGIN + wanted <= model.context_window


def _shows_images(request: GenerationRequest) -> bool:
    return any(
        isinstance(part, ImageContent)
        for message in request.messages
        if not isinstance(message.content, str)
        for part in message.content
    )


def first(standings: Sequence[Standing | None]) -> int | None:
    """Which of several targets to ask first, by its place; ``None`` when none may be asked at all.

    That is the first of which nothing bad is known. Where there is none it is the least bad: a busy one before one that
    does not serve us, and of these the one that is so for the shortest time. One that is broken or has used up its
    quota is not asked.
    """
    worth = [
        (0, 0.0, place) if standing is None else (int(standing.trouble), standing.seconds, place)
        for place, standing in enumerate(standings)
    ]
    trouble, _, place = min(worth)
    return place if trouble < Trouble.BROKEN else None
