"""Sounds and pictures in answers: as plain bytes, or in JSON, in one of the forms that they have there."""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from typing import Any, Final

from app.core.errors import UpstreamBroken
from app.core.task import JSON, Given

_FIELDS: Final = ("audio", "image", "images", "data", "response")
"""Where they are in an object, the most usual first."""


def bytes_of(given: Given) -> bytes:
    """The sound or the picture in an answer.

    Raises:
        UpstreamBroken: There is none.
    """
    data = _bytes_in(given.result) if given.content_type == JSON else given.body
    if not data:
        raise UpstreamBroken("Workers AI sent neither sound nor picture.", code="upstream_empty")
    return data


def _bytes_in(value: Any) -> bytes | None:  # noqa: ANN401 - whatever the upstream sent
    """Bytes in JSON: base64, a ``data:`` URI, numbers in a list, or an object whose keys are their places."""
    if isinstance(value, str):
        return _decoded(value)
    if isinstance(value, list):
        return _bytes_in(value[0]) if value and isinstance(value[0], str) else _numbers(value)
    if not isinstance(value, dict):
        return None
    if value.get("type") == "Buffer":
        return _bytes_in(value.get("data"))
    if "0" in value:
        return _numbers([value.get(str(place)) for place in range(len(value))])
    return next((found for name in _FIELDS if name in value and (found := _bytes_in(value[name]))), None)


def _decoded(text: str) -> bytes | None:
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return binascii.a2b_base64("".join(text.split()), strict_mode=True)
    except ValueError:
        return None


def _numbers(values: Sequence[object]) -> bytes | None:
    try:
        return bytes(values)  # type: ignore[arg-type]  # whatever is no byte raises
    except (TypeError, ValueError):
        return None
