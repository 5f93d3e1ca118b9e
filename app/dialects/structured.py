"""Answers that have to be JSON: are they, and is it what was asked for."""

from __future__ import annotations

from app.core.request import ResponseFormat
from app.core.structured import mismatch
from app.dialects.fences import unfenced
from app.wire.codec import CodecError, decode

__all__ = ["problem", "unfenced"]


def problem(text: str, wanted: ResponseFormat) -> str | None:
    """Say what is wrong with an answer, as a sentence without its full stop; ``None`` when nothing is.

    It holds nothing of the answer itself. A code fence around the JSON is not held against it.

    Args:
        text: The whole answer.
        wanted: What was asked for.
    """
    try:
        value = decode(unfenced(text).encode("utf-8", "surrogatepass"))
    except CodecError:
        return "it is not JSON" if text.strip() else "it is empty"
    if wanted.kind == "json_object":
        return None if isinstance(value, dict) else "it is not a JSON object"
    if not wanted.strict or wanted.schema is None:
        return None
    return mismatch(value, wanted.schema)
