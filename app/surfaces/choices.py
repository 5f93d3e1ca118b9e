"""Several choices for one request: each is a request of its own to the upstream, which gives one answer at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace

from app.core.request import GenerationRequest, Message
from app.surfaces import fields

MAX_CHOICES: Final = 16
"""The most choices of one answer: each costs a whole generation, with the whole prompt."""


def read_n(body: Mapping[str, Any]) -> int:
    """Read ``n``: how many choices the client wants.

    Raises:
        BadRequest: It is no number of choices that is given here.
    """
    return fields.integer(body, "n", minimum=1, maximum=MAX_CHOICES) or 1


def with_choices(
    request: GenerationRequest, count: int, conversations: Sequence[tuple[Message, ...]] = ()
) -> GenerationRequest:
    """Let a request stand for several.

    Args:
        request: What each of them is like.
        count: Choices for each conversation.
        conversations: What they answer; the request's own messages where there is none.

    Returns:
        The request with one branch per choice, or as it is where there is but one.
    """
    asked = conversations or (request.messages,)
    if len(asked) * count == 1:
        return request
    seed = request.knobs.get("seed")
    branches: list[GenerationRequest] = []
    for messages in asked:
        for number in range(count):
            # The same seed for all would give the same answer again and again.
            knobs = request.knobs if seed is None else {**request.knobs, "seed": seed + number}
            branches.append(replace(request, messages=messages, knobs=knobs))
    return replace(request, branches=tuple(branches))
