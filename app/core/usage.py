"""What a generation cost, and how sure we are of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Source = Literal["reported", "summed", "estimated"]

BYTES_PER_TOKEN = 3.5
"""A rough average over the tokenizers in the catalogue; the estimate is always marked as one."""


@dataclass(frozen=True, slots=True)
class Usage:
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


def estimate_tokens(text: str) -> int:
    """Estimate the tokens of a text from its UTF-8 size, rounding up; an empty text has none."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return -int(-size // BYTES_PER_TOKEN)
