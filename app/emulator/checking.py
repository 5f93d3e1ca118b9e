"""Bodies of requests, checked as the models' own schemas check them."""

from typing import Any

from app.emulator.errors import bad_input
from app.emulator.jsonvalue import Json
from app.emulator.schema import Mismatch, check


def checked(body: Json, required: dict[str, Any], **optional: Json) -> dict[str, Any]:
    """Return a body that fits; fields that the schema does not name are ignored.

    Args:
        body: The parsed body.
        required: The schemas of fields that must be there.
        optional: The schemas of others.

    Raises:
        CloudflareError: It does not fit: 400/5006.
    """
    schema = {"type": "object", "properties": {**required, **optional}, "required": list(required)}
    try:
        check(body, schema)
    except Mismatch as finding:
        raise bad_input(str(finding)) from finding
    fitting: dict[str, Any] = body
    return fitting
