"""Whether an answer is the JSON that was asked for, and what it is without the fence that models put around it."""

from __future__ import annotations

import re

from app.core.request import ResponseFormat
from app.core.structured import mismatch
from app.wire.codec import CodecError, decode

_FENCE = re.compile(r"\s*```[a-zA-Z0-9]*\s*\n(.*?)\n?\s*```\s*", re.DOTALL)


def unfenced(text: str) -> str:
    """The JSON inside a Markdown fence, when that is all there is; otherwise the text itself."""
    found = _FENCE.fullmatch(text)
    if found is None:
        return text
    try:
        decode(found[1])
    except CodecError:
        return text
    return found[1]


def problem(text: str, wanted: ResponseFormat) -> str | None:
    """What keeps a text from being what was asked for; ``None`` when nothing does."""
    try:
        value = decode(unfenced(text))
    except CodecError:
        return "it is not JSON"
    return mismatch(value, wanted)
