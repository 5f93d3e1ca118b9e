"""The values of an upstream's JSON as text and numbers, whatever type they turn out to have."""

from __future__ import annotations

import json
from typing import Any, Final

from app.core.usage import estimate_tokens
from app.wire.codec import encode

MOST_TOKENS: Final = 10**8
"""Of one answer: about a hundred times the largest context window. A larger figure is a defect and tells nothing."""

MOST_NEURONS: Final = 10**7
"""Likewise: ten times what filling the largest window costs with the dearest model."""


def json_text(value: Any) -> str:  # noqa: ANN401 - any JSON
    """Write a value as compact JSON, however deep it is and however large its numbers are."""
    try:
        return encode(value).decode()
    except (TypeError, RecursionError):
        pass
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except (ValueError, RecursionError):
        return ""


def text_of(value: Any) -> str:  # noqa: ANN401 - any JSON
    """Read a piece of text: a token that looks like a number comes as one, and a JSON answer as an object.

    Absent values, and an empty list, are no text. Zero is a text.
    """
    if type(value) is str:
        return value
    if value is None or value == []:
        return ""
    if type(value) is int or type(value) is float:
        return str(value)
    return json_text(value)


def token_text(value: Any) -> str:  # noqa: ANN401 - any JSON
    """Read a piece of text where only a token makes sense: objects and lists are none."""
    return "" if isinstance(value, dict | list) else text_of(value)


def name_of(value: Any) -> str | None:  # noqa: ANN401 - any JSON
    """Read an id or a name; an empty one is none."""
    if type(value) is str:
        return value or None
    if type(value) is int:
        return str(value)
    return None


def count_of(value: Any) -> int:  # noqa: ANN401 - any JSON
    """Read a number of tokens; whatever is none, or cannot be believed, is 0."""
    if type(value) is int:
        return value if 0 < value <= MOST_TOKENS else 0
    # The comparison is false for what is not a number.
    if type(value) is float and 0 < value <= MOST_TOKENS:
        return int(value)
    return 0


def amount_of(value: Any) -> float:  # noqa: ANN401 - any JSON
    """Read a number of neurons; whatever is none, or cannot be believed, is 0."""
    return float(value) if (type(value) is float or type(value) is int) and 0 < value <= MOST_NEURONS else 0.0


def estimate_json_tokens(value: Any) -> int:  # noqa: ANN401 - any JSON
    """Estimate the tokens of a value that the upstream will see as JSON."""
    return estimate_tokens(json_text(value))
