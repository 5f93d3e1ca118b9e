"""Usage as Chat Completions and the older Completions tell it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from app.core.usage import Usage, summed


def usage_body(usage: Usage | None) -> dict[str, Any] | None:
    """OpenAI's ``usage`` object, with the details that clients read without asking whether they are there."""
    if usage is None:
        return None
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens or 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens or 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def sum_usages(usages: Iterable[Usage | None]) -> Usage | None:
    """Add up what the choices of one answer cost; choices without figures add nothing, and ``None`` is none at all."""
    known = [usage for usage in usages if usage is not None]
    return summed(known) if known else None
