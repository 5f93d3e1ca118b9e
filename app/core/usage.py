"""What a generation cost, and how sure we are of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeVar

from msgspec import Struct

Source = Literal["reported", "summed", "estimated"]

N = TypeVar("N", int, float)

BYTES_PER_TOKEN = 3.5
"""A rough average over the tokenizers in the catalogue; the estimate is always marked as one."""


class Usage(Struct, frozen=True):
    """Tokens of one generation.

    Attributes:
        prompt_tokens: Tokens of the input, cached ones included.
        completion_tokens: Tokens produced, reasoning included.
        cached_tokens: Input tokens served from a prefix cache; ``None`` when the upstream did not say.
        reasoning_tokens: Output tokens spent on reasoning; ``None`` when the upstream did not say.
        neurons: Cloudflare's billing unit; ``None`` when the upstream did not say.
        source: ``reported`` (one total from the upstream), ``summed`` (added up from per-chunk figures) or
            ``estimated`` (from the text, because the upstream gave no figures).
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    neurons: float | None = None
    source: Source = "reported"

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.prompt_tokens + self.completion_tokens


def summed(usages: Sequence[Usage]) -> Usage:
    """Add up what several calls cost; the sum is as sure as its least sure part.

    Args:
        usages: At least one.
    """
    if len(usages) == 1:
        return usages[0]
    return Usage(
        sum(usage.prompt_tokens for usage in usages),
        sum(usage.completion_tokens for usage in usages),
        _total([usage.cached_tokens for usage in usages]),
        _total([usage.reasoning_tokens for usage in usages]),
        # Of calls some of which told no neurons, the sum of the others would be too little: better none, and prices.
        None if any(usage.neurons is None for usage in usages) else _total([usage.neurons for usage in usages]),
        "estimated" if any(usage.source == "estimated" for usage in usages) else "summed",
    )


def _total(values: Sequence[N | None]) -> N | None:
    known = [value for value in values if value is not None]
    return sum(known[1:], known[0]) if known else None


def estimate_tokens(text: str) -> int:
    """Estimate the tokens of a text from its UTF-8 size, rounding up; an empty text has none."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return -int(-size // BYTES_PER_TOKEN)
