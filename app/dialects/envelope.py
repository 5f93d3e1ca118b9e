"""What a failed answer says: every form in which Cloudflare wraps an error, read into a few plain facts.

The forms differ by who failed: the service (``errors``, a list), the gateway (``error``, a list, an object or a
text; ``internalCode``), the edge (an HTML page, or a line of text), or nobody who could still speak (an empty body).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from app.wire.codec import CodecError, decode_leniently

MAX_BODY_BYTES: Final = 64 * 1024
"""No more of a failed answer is read."""

MAX_TEXT: Final = 4096
"""No more of its sentence is looked at: the patterns that clean it are not for books."""

_PREFIX = re.compile(r"\b(\d{3,5})\s*:")
_EDGE_CODE = re.compile(r"error(?: code)?:? ?(\d{3,4})\b", re.IGNORECASE)


class Facts(Struct, frozen=True):
    """What a failed answer says.

    Attributes:
        code: Cloudflare's own code.
        text: The upstream's sentence, not yet fit to be shown; never HTML.
        status: The HTTP status that the body names, if it does.
        edge: A page or a line of the edge: no service has spoken.
    """

    code: int | None = None
    text: str = ""
    status: int | None = None
    edge: bool = False


def is_failure(payload: Mapping[str, Any]) -> bool:
    """Tell whether a JSON object is a failure and not an answer."""
    success = payload.get("success")
    if success is False:
        return True
    if success is True:
        return False
    if payload.get("internalCode") is not None:
        return True
    return bool(payload.get("errors")) or bool(payload.get("error"))


def read_body(body: bytes, known: Mapping[int, object]) -> Facts:
    """Read the body of a failed answer.

    Args:
        body: As it came; only its first ``MAX_BODY_BYTES`` are looked at.
        known: The codes that count when one only stands at the head of a text.
    """
    body = body[:MAX_BODY_BYTES]
    try:
        payload = decode_leniently(body)
    except CodecError:
        return _read_text(body.decode("utf-8", "replace").strip(), known)
    if isinstance(payload, list) and payload:
        payload = payload[0]
    if isinstance(payload, dict):
        return read_object(payload, known)
    return Facts(text=_text(payload))


def read_object(payload: Mapping[str, Any], known: Mapping[int, object]) -> Facts:
    """Read a failure that is a JSON object."""
    error = payload.get("error")
    entries = (_first(payload.get("errors")), _first(error), error if isinstance(error, dict) else None)
    details = [entry for entry in entries if entry is not None]
    text = next((found for entry in details if (found := _text(entry.get("message")))), "")
    text = text or _text(_first_text(payload.get("errors"))) or _text(error) or _text(payload.get("message"))
    codes = [entry.get("code") for entry in details]
    codes.insert(2, payload.get("internalCode"))
    codes.append(payload.get("code"))
    numbers = [number for value in codes if (number := _number(value)) is not None]
    # Engines behind the service use the HTTP status as their code.
    code = next((number for number in numbers if number >= 1000), None)
    status = next((number for number in numbers if 400 <= number < 600), None)
    return Facts(
        code if code is not None else _prefix_code(text, known),
        text,
        _number(payload.get("httpCode")) or status,
    )


def _read_text(text: str, known: Mapping[int, object]) -> Facts:
    html = text.startswith("<")
    if not html and (code := _prefix_code(text, known)) is not None:
        return Facts(code, _text(text))
    found = _EDGE_CODE.search(text)
    if html or found:
        number = int(found[1]) if found else None
        return Facts(
            number if number is not None and number >= 1000 else None,
            status=number if number is not None and 400 <= number < 600 else None,
            edge=True,
        )
    return Facts(text=_text(text))


def _prefix_code(text: str, known: Mapping[int, object]) -> int | None:
    for found in _PREFIX.finditer(text[:200]):
        if int(found[1]) in known:
            return int(found[1])
    return None


def _first(value: object) -> dict[str, Any] | None:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return value[0]
    return None


def _first_text(value: object) -> object:
    return value[0] if isinstance(value, list) and value else value


def _text(value: object) -> str:
    return value[:MAX_TEXT].strip() if isinstance(value, str) else ""


def _number(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 7:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1_000_000:
        return value
    return None
