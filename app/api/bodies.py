"""The JSON bodies of requests that generate nothing, bounded while they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request

from app.core.errors import BadRequest, TooLarge
from app.wire.codec import CodecError, decode

SMALL: Final = 64 * 1024
"""Bytes of a body that has no long texts in it."""


async def read_object(request: Request, most: int = SMALL) -> Mapping[str, Any]:
    """Read a JSON object; an empty body is an empty object.

    Args:
        request: The request.
        most: The largest body, in bytes.

    Raises:
        BadRequest: It is something else, or was never whole.
        TooLarge: It is larger.
    """
    raw = bytearray()
    try:
        async for block in request.stream():
            raw += block
            if len(raw) > most:
                raise TooLarge(f"Maximum content size limit ({most} bytes) exceeded.")
    except ClientDisconnect:
        # Nobody is there to read it.
        raise BadRequest("The body of the request was not sent whole.") from None
    if not raw:
        return {}
    try:
        body = decode(bytes(raw))
    except CodecError:
        raise BadRequest("We could not parse the JSON body of your request.") from None
    if not isinstance(body, dict):
        raise BadRequest("The body of your request must be a JSON object.")
    return body
