"""What every exchange does with the body of its request, and with what could not be sent of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.core.errors import BadRequest
from app.wire.codec import CodecError, decode


def decoded(raw: bytes) -> Mapping[str, Any]:
    """Decode a request's body.

    Raises:
        BadRequest: It is not a JSON object.
    """
    try:
        body = decode(raw)
    except CodecError:
        raise BadRequest(
            "We could not parse the JSON body of your request. (Hint: this is expected to be a JSON object, in UTF-8.)"
        ) from None
    if not isinstance(body, dict):
        raise BadRequest("The body of your request must be a JSON object.")
    return body


def refuse_changes(dropped: Sequence[str], adjusted: Sequence[str]) -> None:
    """Refuse what could be served only with a field dropped or changed.

    Raises:
        BadRequest: There is such a field.
    """
    if dropped:
        raise BadRequest(
            f"Unsupported parameter: '{dropped[0]}' is not supported with this model.",
            param=dropped[0],
            code="unsupported_parameter",
        )
    if adjusted:
        raise BadRequest(
            f"Unsupported value: '{adjusted[0]}' does not support this value with this model.",
            param=adjusted[0],
            code="unsupported_value",
        )
