"""JSON that a model put into a Markdown code fence, as it does however often it is told not to."""

from __future__ import annotations

from typing import Final

from app.wire.codec import CodecError, decode

FENCE: Final = "```"


def unfenced(text: str) -> str:
    """Return the JSON inside a text that is one code fence and nothing else; any other text as it is."""
    begun = text.strip()
    if len(begun) < 2 * len(FENCE) or not begun.startswith(FENCE) or not begun.endswith(FENCE):
        return text
    inner = begun[len(FENCE) : -len(FENCE)]
    # On the line of the fence stands the language, if anything.
    word, _, rest = inner.partition("\n")
    if word.strip().isalnum():
        inner = rest
    elif word[:4].lower() == "json":
        inner = inner[4:]
    inner = inner.strip()
    try:
        decode(inner.encode("utf-8", "replace"))
    except CodecError:
        return text
    return inner
