"""JSON in and out, in one place, so that the library behind it can be changed in one place."""

from __future__ import annotations

import json
from typing import Any

import orjson


class CodecError(ValueError):
    """The bytes are not JSON."""


def decode(data: bytes | str) -> Any:  # noqa: ANN401 - JSON has no narrower type
    """Decode strict JSON in UTF-8: no NaN, no lone surrogates, at most some 1,000 levels deep.

    Raises:
        CodecError: It is not that.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise CodecError(str(error)) from None


def decode_leniently(data: bytes) -> Any:  # noqa: ANN401 - JSON has no narrower type
    """Decode what an upstream sent: lone surrogates (half an emoji in a token) pass, NaN becomes null.

    Raises:
        CodecError: It is not JSON even so.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(data.decode("utf-8", "replace"), parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        raise CodecError(str(error)) from None


def encode(value: Any) -> bytes:  # noqa: ANN401 - JSON has no narrower type
    """Encode as compact JSON; a lone surrogate, which UTF-8 cannot hold, becomes U+FFFD."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return orjson.dumps(_without_surrogates(value))


def _without_surrogates(value: Any) -> Any:  # noqa: ANN401 - walks any JSON
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_surrogates(item) for item in value]
    return value
